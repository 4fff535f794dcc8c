/* `cp [OPTION] SOURCE TARGET` of one file, for images that are built from scratch. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "usage: cp SOURCE TARGET\n"), 2;
  const char *source = argv[argc - 2], *target = argv[argc - 1];
  struct stat facts;
  int from = open(source, O_RDONLY);
  if (from < 0 || fstat(from, &facts) < 0) return perror(source), 1;
  int to = open(target, O_WRONLY | O_CREAT | O_TRUNC, facts.st_mode & 0777);
  if (to < 0) return perror(target), 1;
  static char buffer[1 << 20];
  for (ssize_t count; (count = read(from, buffer, sizeof buffer)) != 0;)
    if (count < 0 || write(to, buffer, count) != count) return perror(target), 1;
  return 0;
}
