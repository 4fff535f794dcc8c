/** What only shows after half hours: the controller within this process, under a clock that runs faster. */
import { PassThrough } from "node:stream";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { Replica } from "../../controller/replica.ts";
import { createClient } from "../../kubernetes/client.ts";
import { systemClock, type Clock } from "../../kubernetes/clock.ts";
import { createLogger } from "../../kubernetes/logging.ts";
import { Metrics } from "../../kubernetes/metrics.ts";
import type { Program } from "../../kubernetes/program.ts";
import { Shutdown } from "../../kubernetes/shutdown.ts";
import { NAMESPACE, poolConfig } from "../support/builders.ts";
import { ControlPlane, UP_TIMEOUT_MS } from "../support/control-plane.ts";
import { eventually } from "../support/eventually.ts";
import { describeWith } from "../support/requirements.ts";
import { installController, User } from "./controller-process.ts";

jest.setTimeout(120_000);

/** Half an hour takes a second. */
const SPEED = 1_800;

const fastClock: Clock = {
  monotonicMs: () => systemClock.monotonicMs() * SPEED,
  wallMs: () => systemClock.wallMs(),
  setTimer: (delayMs, callback) => systemClock.setTimer(delayMs / SPEED, callback),
};

/** A program that ends when it is disposed of, and leaves the process alone. */
async function startReplica(plane: ControlPlane, metrics: Metrics): Promise<AsyncDisposable> {
  const kubeconfig = await plane.kubeconfigFor(NAMESPACE, "controller");
  const client = await createClient({ program: "controller", kubeconfig });
  const running = new AbortController();
  const shutdown = new Shutdown();
  const tasks: Promise<void>[] = [];
  const keep: Program["keep"] = (_, task) => void tasks.push(task(running.signal));
  const program: Program = {
    name: "controller",
    logger: createLogger("controller", "info", new PassThrough().resume()),
    metrics,
    client,
    clock: fastClock,
    shutdown,
    signal: running.signal,
    probes: undefined,
    keep,
    reflect: async (...reflectors) => {
      for (const reflector of reflectors) keep("reflector", (signal) => reflector.run(signal));
      await Promise.all(reflectors.map((reflector) => reflector.synced(running.signal)));
    },
  };
  await new Replica(program, {
    namespace: NAMESPACE,
    podName: "fast",
    probePort: 0,
    metricsPort: 0,
    metricsScheme: "none",
  }).start();
  return {
    [Symbol.asyncDispose]: async () => {
      await shutdown.begin("end of the test");
      running.abort();
      await Promise.all(tasks);
      client.close();
    },
  };
}

describeWith("setpriv")("an address that nobody announces", () => {
  let plane: ControlPlane;
  let user: User;

  beforeAll(async () => {
    plane = await ControlPlane.up();
    await installController(plane);
    user = new User(plane);
    await user.configure([poolConfig("a", ["10.0.0.0/29"])]);
  }, UP_TIMEOUT_MS);

  afterAll(async () => {
    await plane[Symbol.asyncDispose]();
  });

  /** How often the Service has been warned about, by what was written in the end. */
  async function warnings(name: string): Promise<number> {
    const events = await user.events("default", name);
    return events
      .filter(({ type, reason }) => type === "Warning" && reason === "announceFailed")
      .reduce((sum, { series }) => sum + (series?.count ?? 1), 0);
  }

  test("is told of every half hour, until somebody announces it", async () => {
    const metrics = new Metrics();
    const aggregated = async (): Promise<number> => {
      const text = await metrics.registry.metrics();
      return Number(/^events_recorded_total\{result="aggregated"\} (\d+)$/m.exec(text)?.[1] ?? 0);
    };
    {
      await using _ = await startReplica(plane, metrics);
      await user.createService("default", "announced");
      const [address = ""] = await user.addresses("default", "announced");
      expect(await warnings("announced")).toBe(0);
      // The first warning is written, those after it within a minute are counted.
      await eventually(async () => (await aggregated()) >= 2, { deadlineMs: 60_000 });
      await user.report("default", "announced", "node1", { address, reason: "Announced", term: 1 });
      await user.condition("default", "announced", "metallb.io/Announced", "Announced");
      const before = await aggregated();
      await user.createService("default", "silent");
      await eventually(async () => (await aggregated()) >= before + 4, { deadlineMs: 60_000 });
    }
    const [announced, silent] = [await warnings("announced"), await warnings("silent")];
    expect(announced).toBeGreaterThanOrEqual(3);
    // Four were counted after the report, and at most one of them can be about what was just reported.
    expect(silent).toBeGreaterThanOrEqual(4);
    const [event] = (await user.events("default", "silent")).filter(
      ({ reason }) => reason === "announceFailed",
    );
    expect(event?.note).toContain("no speaker has said anything about 10.0.0.1");
  });
});
