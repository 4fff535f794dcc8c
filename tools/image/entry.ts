/** The image's entry: its first argument says which of the three programs the container is. */
const [program = ""] = process.argv.slice(2);
switch (program) {
  case "operator":
    await import("./operator.mjs" as string);
    break;
  case "controller":
    await import("./controller.mjs" as string);
    break;
  case "speaker":
    await import("./speaker.mjs" as string);
    break;
  default:
    process.stderr.write(
      `error: ${JSON.stringify(program)} is no program: use operator, controller or speaker\n`,
    );
    process.exit(2);
}
