/** The image's entry: its first argument says which of the three programs the container is. */
const PROGRAMS: readonly string[] = ["operator", "controller", "speaker"];

const [program = ""] = process.argv.slice(2);
if (!PROGRAMS.includes(program)) {
  const choice = PROGRAMS.join(", ");
  process.stderr.write(`error: ${JSON.stringify(program)} is no program: use one of ${choice}\n`);
  process.exit(2);
}
// Bundled beside this file; the name is known only now.
await import(new URL(`${program}.mjs`, import.meta.url).href);
