import { expect, test } from "@jest/globals";
import { Shutdown } from "../../../kubernetes/shutdown.ts";
import { VirtualClock } from "./virtual-clock.ts";

test("runs the steps one after the other, what all need at the end", async () => {
  const shutdown = new Shutdown();
  const seen: string[] = [];
  shutdown.addLast("client", () => void seen.push("client"));
  shutdown.add("withdraw", async () => {
    await new Promise((resolve) => setImmediate(resolve));
    seen.push("withdraw");
  });
  shutdown.add("lease", () => void seen.push("lease"));
  expect(await shutdown.begin("SIGTERM")).toBe(true);
  expect(seen).toEqual(["withdraw", "lease", "client"]);
});

test("its signal aborts before the first step", async () => {
  const shutdown = new Shutdown();
  let aborted = false;
  shutdown.add("look", () => void (aborted = shutdown.signal.aborted));
  await shutdown.begin("SIGTERM");
  expect(aborted).toBe(true);
});

test("a step that throws does not keep the others from running", async () => {
  const shutdown = new Shutdown();
  let ran = false;
  shutdown.add("broken", () => {
    throw new Error("bug");
  });
  shutdown.add("next", () => void (ran = true));
  expect(await shutdown.begin("SIGTERM")).toBe(false);
  expect(ran).toBe(true);
});

test("a step that hangs ends with the deadline", async () => {
  const clock = new VirtualClock();
  const shutdown = new Shutdown({ clock, deadlineMs: 1_000 });
  let told = false;
  shutdown.add("hangs", (signal) => {
    signal.addEventListener("abort", () => (told = true));
    return new Promise(() => undefined);
  });
  const ended = shutdown.begin("SIGTERM");
  await clock.advance(1_000);
  expect(await ended).toBe(false);
  expect(told).toBe(true);
});

test("begins once", async () => {
  const shutdown = new Shutdown();
  let count = 0;
  shutdown.add("count", () => {
    count++;
  });
  await Promise.all([shutdown.begin("SIGTERM"), shutdown.begin("SIGINT")]);
  expect(count).toBe(1);
});
