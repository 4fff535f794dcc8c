import { expect, test } from "@jest/globals";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { eventually } from "../../support/eventually.ts";

interface Child extends AsyncDisposable {
  /** Messages of the log so far. */
  messages(): string[];
  line(message: string): Record<string, unknown> | undefined;
  kill(signal: NodeJS.Signals): void;
  exit(): Promise<number | null>;
}

function start(what: string): Child {
  const args = ["--disable-sigusr1", join(import.meta.dirname, "program-child.ts"), what];
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  const lines: Record<string, unknown>[] = [];
  createInterface({ input: child.stdout }).on("line", (text) => {
    lines.push(JSON.parse(text) as Record<string, unknown>);
  });
  const closed = once(child, "close");
  return {
    messages: () => lines.map(({ msg }) => String(msg)),
    line: (message) => lines.find(({ msg }) => msg === message),
    kill: (signal) => void child.kill(signal),
    exit: async () => ((await closed) as [number | null])[0],
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await closed;
    },
  };
}

const started = (child: Child): Promise<unknown> =>
  eventually(() => child.messages().includes("started"));

test("SIGTERM: not ready, then the program's own steps, then its tasks, then exit 0", async () => {
  await using child = start("");
  await started(child);
  child.kill("SIGTERM");
  expect(await child.exit()).toBe(0);
  expect(child.messages()).toEqual([
    "started",
    "shutting down",
    "withdrawn",
    "readyz",
    "task ended",
    "shut down",
  ]);
  expect(child.line("withdrawn")).toMatchObject({ aborted: false });
  expect(child.line("readyz")).toMatchObject({ status: 503 });
});

test("a second signal ends it at once", async () => {
  await using child = start("hang");
  await started(child);
  child.kill("SIGTERM");
  await eventually(() => child.messages().includes("readyz"));
  child.kill("SIGTERM");
  expect(await child.exit()).toBe(1);
});

test("SIGUSR2 switches debug on and off, and SIGUSR1 opens no inspector", async () => {
  await using child = start("");
  await started(child);
  child.kill("SIGUSR1");
  child.kill("SIGUSR2");
  await eventually(() => child.line("log level changed")?.["level"] === "debug");
  child.kill("SIGUSR2");
  await eventually(
    () => child.messages().filter((each) => each === "log level changed").length === 2,
  );
});

for (const { name, what, message } of [
  { name: "a start that fails ends with 1", what: "throw", message: "program could not start" },
  { name: "a task that fails ends the program with 1", what: "fail", message: "task failed" },
  {
    name: "a bug that nobody catches ends the program with 1",
    what: "bug",
    message: "program error",
  },
]) {
  test(name, async () => {
    await using child = start(what);
    expect(await child.exit()).toBe(1);
    expect(child.line(message)).toMatchObject({ error: { name: "RangeError" } });
  });
}
