/*
 * Asks for addresses by ARP or Neighbor Discovery, and measures how it is answered.
 *
 *   load latency INTERFACE SOURCE COUNT         one request after the other's reply, targets by chance
 *   load flood   INTERFACE SOURCE MILLISECONDS  64 outstanding, targets by chance
 *   load storm   INTERFACE SOURCE MILLISECONDS RATE    RATE requests a second, replies are not read
 *   load sweep   INTERFACE SOURCE FIRST         each target in turn from FIRST (0 …) on, until one is silent
 *
 * SOURCE is an address of the interface; its family decides between ARP and Neighbor Discovery.
 * Targets come on standard input, one a line: ADDRESS, or ADDRESS MAC to ask that host alone
 * (unicast) instead of all. One line of JSON goes to standard output; times are microseconds.
 *
 * The CPU time of a storm is the share of a core, in per cent, that this program used: the kernel
 * delivers a frame on a veth as part of sending it, so that the receiving kernel's work is in it.
 *
 * A latency is the kernel's time stamp of the reply less the clock just before the request was
 * handed to the kernel: how soon this program is woken is not in it.
 */
#define _GNU_SOURCE /* recvmmsg, sendmmsg */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WINDOW 64
#define MAX_BURST 256
/* A request not answered within this is lost. */
#define PATIENCE_MS 100
#define ARP_FRAME 60
#define NDP_FRAME 86
#define NANO 1000000000LL

/* Offsets in frames. */
#define ARP_OPERATION 20
#define ARP_SENDER 28
#define IP6 14
#define IP6_SOURCE (IP6 + 8)
#define IP6_DESTINATION (IP6 + 24)
#define ICMP6 (IP6 + 40)
#define ICMP6_TARGET (ICMP6 + 8)

typedef struct {
  uint8_t octets[NDP_FRAME];
} frame;

typedef struct {
  bool ipv6;
  uint8_t address[16], mac[ETH_ALEN];
  int index, send_fd, receive_fd;
  size_t frame_length, address_length, answer_at;
  frame* requests;
  size_t targets;
  uint64_t random;
} client;

static void fail(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("load: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(2);
}

static long long now(clockid_t clock) {
  struct timespec at;
  clock_gettime(clock, &at);
  return at.tv_sec * NANO + at.tv_nsec;
}

static long positive(const char* text, const char* name) {
  char* end;
  long value = strtol(text, &end, 10);
  if (*text == '\0' || *end != '\0' || value < 0) fail("%s: %s is no natural number", name, text);
  return value;
}

/* xorshift64: the same targets in every run. */
static size_t any_target(client* c) {
  c->random ^= c->random << 13;
  c->random ^= c->random >> 7;
  c->random ^= c->random << 17;
  return c->random % c->targets;
}

/* ---- frames ---- */

static void put16(uint8_t* at, unsigned value) {
  at[0] = (uint8_t)(value >> 8);
  at[1] = (uint8_t)value;
}

static uint32_t sum16(const uint8_t* octets, size_t length) {
  uint32_t sum = 0;
  for (size_t i = 0; i < length; i += 2) sum += (uint32_t)octets[i] << 8 | octets[i + 1];
  return sum;
}

static void build_arp(const client* c, const uint8_t* target, const uint8_t* mac, uint8_t* f) {
  static const uint8_t header[] = {0, ARPHRD_ETHER, 8, 0, 6, 4, 0, ARPOP_REQUEST};
  if (mac == NULL) memset(f, 0xff, ETH_ALEN);
  else memcpy(f, mac, ETH_ALEN);
  memcpy(f + 6, c->mac, ETH_ALEN);
  put16(f + 12, ETH_P_ARP);
  memcpy(f + 14, header, sizeof header);
  memcpy(f + 22, c->mac, ETH_ALEN);
  memcpy(f + 28, c->address, 4);
  memcpy(f + 38, target, 4);
}

static void build_solicitation(const client* c, const uint8_t* target, const uint8_t* mac, uint8_t* f) {
  static const uint8_t group[] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
  put16(f + 12, ETH_P_IPV6);
  memcpy(f + 6, c->mac, ETH_ALEN);
  f[IP6] = 0x60;
  put16(f + IP6 + 4, NDP_FRAME - ICMP6);
  f[IP6 + 6] = IPPROTO_ICMPV6;
  f[IP6 + 7] = 255;
  memcpy(f + IP6_SOURCE, c->address, 16);
  memcpy(f + IP6_DESTINATION, target, 16);
  if (mac == NULL) {
    memcpy(f + IP6_DESTINATION, group, sizeof group);
    memcpy(f, (const uint8_t[]){0x33, 0x33, 0xff, target[13], target[14], target[15]}, ETH_ALEN);
  } else {
    memcpy(f, mac, ETH_ALEN);
  }
  f[ICMP6] = 135;
  memcpy(f + ICMP6_TARGET, target, 16);
  f[ICMP6 + 24] = 1; /* source link-layer address, of one unit */
  f[ICMP6 + 25] = 1;
  memcpy(f + ICMP6 + 26, c->mac, ETH_ALEN);
  uint32_t sum = sum16(f + IP6_SOURCE, 32) + sum16(f + ICMP6, NDP_FRAME - ICMP6) +
                 (NDP_FRAME - ICMP6) + IPPROTO_ICMPV6;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  put16(f + ICMP6 + 2, ~sum & 0xffff);
}

static bool read_mac(const char* text, uint8_t* mac) {
  return sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) == 6;
}

static void add_target(client* c, const char* line) {
  char address[64], mac_text[32];
  uint8_t target[16], mac[ETH_ALEN];
  int fields = sscanf(line, "%63s %31s", address, mac_text);
  if (fields < 1 || inet_pton(c->ipv6 ? AF_INET6 : AF_INET, address, target) != 1) {
    fail("%s: no address of the source's family", line);
  }
  if (fields == 2 && !read_mac(mac_text, mac)) fail("%s: no MAC address", mac_text);
  if ((c->targets & (c->targets - 1)) == 0) {
    size_t room = c->targets == 0 ? 1 : 2 * c->targets;
    c->requests = realloc(c->requests, room * sizeof(frame));
    if (c->requests == NULL) fail("no memory");
  }
  uint8_t* octets = c->requests[c->targets++].octets;
  memset(octets, 0, NDP_FRAME);
  (c->ipv6 ? build_solicitation : build_arp)(c, target, fields == 2 ? mac : NULL, octets);
}

static const uint8_t* target_of(const client* c, size_t i) {
  return c->requests[i].octets + (c->ipv6 ? ICMP6_TARGET : 38);
}

/* ---- sockets ---- */

static void find_interface(client* c, const char* name) {
  struct ifreq request = {0};
  c->index = (int)if_nametoindex(name);
  if (c->index == 0) fail("no interface %s", name);
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (ioctl(c->send_fd, SIOCGIFHWADDR, &request) != 0) fail("%s: %s", name, strerror(errno));
  memcpy(c->mac, request.ifr_hwaddr.sa_data, ETH_ALEN);
}

/* Lets only ARP replies or Neighbor Advertisements through. */
static void open_receiver(client* c) {
  struct sock_filter arp[] = {
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, ARP_OPERATION),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARPOP_REPLY, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0x40000),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  struct sock_filter ndp[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, IP6 + 6),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6, 0, 3),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ICMP6),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 136, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0x40000),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  const struct sock_fprog program = c->ipv6 ? (struct sock_fprog){6, ndp} : (struct sock_fprog){4, arp};
  const uint16_t protocol = htons(c->ipv6 ? ETH_P_IPV6 : ETH_P_ARP);
  const struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = protocol, .sll_ifindex = c->index};
  const struct timeval patience = {.tv_usec = PATIENCE_MS * 1000};
  const int on = 1, room = 8 << 20;
  int fd = c->receive_fd = socket(AF_PACKET, SOCK_RAW, 0);
  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0 ||
      setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0 ||
      setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0 ||
      setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
      bind(fd, (const struct sockaddr*)&address, sizeof address) != 0) {
    fail("receiving: %s", strerror(errno));
  }
}

static void open_client(client* c, const char* interface, const char* source) {
  c->random = 0x9e3779b97f4a7c15;
  c->ipv6 = strchr(source, ':') != NULL;
  c->frame_length = c->ipv6 ? NDP_FRAME : ARP_FRAME;
  c->address_length = c->ipv6 ? 16 : 4;
  c->answer_at = c->ipv6 ? ICMP6_TARGET : ARP_SENDER;
  if (inet_pton(c->ipv6 ? AF_INET6 : AF_INET, source, c->address) != 1) fail("%s: no address", source);
  c->send_fd = socket(AF_PACKET, SOCK_RAW, 0);
  if (c->send_fd < 0) fail("sending: %s", strerror(errno));
  find_interface(c, interface);
  const struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = c->index};
  if (bind(c->send_fd, (const struct sockaddr*)&address, sizeof address) != 0) fail("sending: %s", strerror(errno));
  open_receiver(c);
  char line[128];
  while (fgets(line, sizeof line, stdin) != NULL) add_target(c, line);
  if (c->targets == 0) fail("no targets on standard input");
}

/* ---- one at a time ---- */

static long long stamp_of(struct msghdr* header) {
  for (struct cmsghdr* m = CMSG_FIRSTHDR(header); m != NULL; m = CMSG_NXTHDR(header, m)) {
    if (m->cmsg_level != SOL_SOCKET || m->cmsg_type != SCM_TIMESTAMPNS) continue;
    struct timespec at;
    memcpy(&at, CMSG_DATA(m), sizeof at);
    return at.tv_sec * NANO + at.tv_nsec;
  }
  return now(CLOCK_REALTIME);
}

static bool is_answer(const client* c, const uint8_t* f, ssize_t length, size_t i) {
  return length >= (ssize_t)(c->answer_at + c->address_length) && memcmp(f, c->mac, ETH_ALEN) == 0 &&
         memcmp(f + c->answer_at, target_of(c, i), c->address_length) == 0;
}

/* Asks for one target. Nanoseconds until the reply, or -1 when none came. */
static long long ask(client* c, size_t i) {
  uint8_t octets[2048];
  char control[CMSG_SPACE(sizeof(struct timespec))];
  struct iovec vector = {octets, sizeof octets};
  const long long asked = now(CLOCK_REALTIME);
  if (send(c->send_fd, c->requests[i].octets, c->frame_length, 0) < 0) fail("sending: %s", strerror(errno));
  while (now(CLOCK_REALTIME) - asked < PATIENCE_MS * NANO / 1000) {
    struct msghdr header = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t length = recvmsg(c->receive_fd, &header, 0);
    /* A late reply to the request before, for the same target, bears an earlier stamp. */
    if (length > 0 && is_answer(c, octets, length, i) && stamp_of(&header) >= asked) {
      return stamp_of(&header) - asked;
    }
  }
  return -1;
}

static int ascending(const void* a, const void* b) {
  const long long x = *(const long long*)a, y = *(const long long*)b;
  return (x > y) - (x < y);
}

static void latency(client* c, long count) {
  long long* times = calloc((size_t)count + 1, sizeof *times);
  long answered = 0;
  if (times == NULL || count == 0) fail("COUNT: expected 1 or more");
  for (long i = 0; i < count; i++) {
    const long long time = ask(c, any_target(c));
    if (time >= 0) times[answered++] = time;
  }
  qsort(times, (size_t)answered, sizeof *times, ascending);
  const double scale = 1000;
  printf("{\"sent\":%ld,\"answered\":%ld", count, answered);
  if (answered > 0) {
    printf(",\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f", (double)times[answered / 2] / scale,
           (double)times[answered * 99 / 100] / scale, (double)times[answered - 1] / scale);
  }
  puts("}");
}

static void sweep(client* c, size_t first) {
  size_t i = first;
  while (i < c->targets && ask(c, i) >= 0) i++;
  printf("{\"next\":%zu}\n", i);
}

/* ---- many at a time ---- */

typedef struct {
  struct mmsghdr headers[MAX_BURST];
  struct iovec vectors[MAX_BURST];
} batch;

static void send_burst(client* c, batch* b, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    b->vectors[i] = (struct iovec){c->requests[any_target(c)].octets, c->frame_length};
    b->headers[i].msg_hdr = (struct msghdr){.msg_iov = &b->vectors[i], .msg_iovlen = 1};
  }
  for (unsigned sent = 0; sent < count;) {
    int taken = sendmmsg(c->send_fd, b->headers + sent, count - sent, 0);
    if (taken < 0 && errno != EINTR && errno != ENOBUFS) fail("sending: %s", strerror(errno));
    if (taken > 0) sent += (unsigned)taken;
  }
}

/* Waits for a reply and takes what there is, WINDOW at most. */
static unsigned take_replies(client* c) {
  static uint8_t octets[WINDOW][128];
  struct mmsghdr headers[WINDOW];
  struct iovec vectors[WINDOW];
  unsigned replies = 0;
  memset(headers, 0, sizeof headers);
  for (unsigned i = 0; i < WINDOW; i++) {
    vectors[i] = (struct iovec){octets[i], sizeof octets[i]};
    headers[i].msg_hdr.msg_iov = &vectors[i];
    headers[i].msg_hdr.msg_iovlen = 1;
  }
  int count = recvmmsg(c->receive_fd, headers, WINDOW, MSG_WAITFORONE, NULL);
  for (int i = 0; i < count; i++) replies += memcmp(octets[i], c->mac, ETH_ALEN) == 0;
  return replies;
}

static void flood(client* c, long milliseconds) {
  static batch b;
  const long long begin = now(CLOCK_MONOTONIC), end = begin + milliseconds * NANO / 1000;
  unsigned long sent = 0, answered = 0;
  unsigned outstanding = 0;
  while (now(CLOCK_MONOTONIC) < end) {
    send_burst(c, &b, WINDOW - outstanding);
    sent += WINDOW - outstanding;
    outstanding = WINDOW;
    unsigned replies = take_replies(c);
    answered += replies;
    /* Silence: those outstanding are lost. */
    outstanding = replies == 0 || replies > outstanding ? 0 : outstanding - replies;
  }
  const double seconds = (double)(now(CLOCK_MONOTONIC) - begin) / (double)NANO;
  printf("{\"sent\":%lu,\"answered\":%lu,\"perSecond\":%.1f}\n", sent, answered, (double)answered / seconds);
}

static void storm(client* c, long milliseconds, long rate) {
  static batch b;
  const long long begin = now(CLOCK_MONOTONIC), end = begin + milliseconds * NANO / 1000;
  long long sent = 0;
  for (long long at = begin; at < end; at = now(CLOCK_MONOTONIC)) {
    long long due = (at - begin) / 1000 * rate / 1000000 - sent;
    if (due > MAX_BURST) due = MAX_BURST;
    send_burst(c, &b, (unsigned)due);
    sent += due;
    const struct timespec pause = {.tv_nsec = 1000000};
    nanosleep(&pause, NULL);
  }
  const double elapsed = (double)(now(CLOCK_MONOTONIC) - begin), cpu = (double)now(CLOCK_PROCESS_CPUTIME_ID);
  printf("{\"sent\":%lld,\"perSecond\":%.1f,\"cpu\":%.3f}\n", sent, (double)sent * NANO / elapsed,
         100 * cpu / elapsed);
}

int main(int count, char** arguments) {
  client c = {0};
  const char* mode = count > 1 ? arguments[1] : "";
  if (count != (strcmp(mode, "storm") == 0 ? 6 : 5)) {
    fail("usage: load latency|flood|storm|sweep INTERFACE SOURCE NUMBER [RATE]");
  }
  open_client(&c, arguments[2], arguments[3]);
  const long number = positive(arguments[4], "NUMBER");
  if (strcmp(mode, "latency") == 0) latency(&c, number);
  else if (strcmp(mode, "flood") == 0) flood(&c, number);
  else if (strcmp(mode, "storm") == 0) storm(&c, number, positive(arguments[5], "RATE"));
  else if (strcmp(mode, "sweep") == 0) sweep(&c, (size_t)number);
  else fail("%s: no such mode", mode);
  return 0;
}
