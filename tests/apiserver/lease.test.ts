import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createClient, type Client } from "../../kubernetes/client.ts";
import { CONFIG_MAPS, LEASES, NAMESPACES } from "../../kubernetes/resources.ts";
import { ControlPlane, UP_TIMEOUT_MS } from "../support/control-plane.ts";
import { eventually } from "../support/eventually.ts";
import { describeWith } from "../support/requirements.ts";

const TIMEOUT_MS = 120_000;
const LEASE_MS = 3_000;
const namespace = "leases";

interface Contender extends AsyncDisposable {
  readonly process: ChildProcess;
  ended(): Promise<number | null>;
}

describeWith("setpriv")("contenders for a lease", () => {
  let plane: ControlPlane;
  let client: Client;

  beforeAll(async () => {
    plane = await ControlPlane.up();
    client = await createClient({ program: "test", kubeconfig: plane.kubeconfig });
    await client.apply(NAMESPACES, { metadata: { name: namespace } });
  }, UP_TIMEOUT_MS);

  afterAll(async () => {
    client.close();
    await plane[Symbol.asyncDispose]();
  });

  function start(identity: string): Contender {
    const script = join(import.meta.dirname, "contender.ts");
    const args = [script, plane.kubeconfig, namespace, identity, String(LEASE_MS)];
    const env = { ...process.env, NODE_OPTIONS: "" };
    const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"], env });
    const exit = once(child, "exit");
    return {
      process: child,
      ended: async () => ((await exit) as [number | null])[0],
      [Symbol.asyncDispose]: async () => {
        child.kill("SIGKILL");
        await exit;
      },
    };
  }

  const holder = async (): Promise<string | undefined> =>
    (await client.get(LEASES, { name: "contended", namespace }))?.spec?.holderIdentity;
  const written = async (): Promise<Readonly<Record<string, string>> | undefined> =>
    (await client.get(CONFIG_MAPS, { name: "written", namespace }))?.data;

  test(
    "the other takes over from a frozen holder, which writes nothing when it goes on",
    async () => {
      await using first = start("first");
      await eventually(async () => (await written())?.["writer"] === "first", {
        deadlineMs: 30_000,
      });
      await using second = start("second");
      // The second must have seen the lease once to count from.
      await delay(LEASE_MS);
      first.process.kill("SIGSTOP");
      await eventually(async () => (await written())?.["writer"] === "second", {
        deadlineMs: 30_000,
      });
      const since = new Date().toISOString();
      first.process.kill("SIGCONT");
      // Having lost, the first ends by itself.
      expect(await first.ended()).not.toBe(0);
      expect(await holder()).toBe("second");
      const late = (await plane.auditEvents()).filter(
        ({ verb, objectRef, userAgent, requestReceivedTimestamp }) =>
          verb === "patch" &&
          objectRef?.resource === "configmaps" &&
          userAgent?.includes("first") === true &&
          requestReceivedTimestamp > since,
      );
      expect(late).toEqual([]);
      second.process.kill("SIGTERM");
      expect(await second.ended()).toBe(0);
      expect(await holder()).toBe("");
    },
    TIMEOUT_MS,
  );

  test(
    "the lease goes to the next at once when its holder ends properly",
    async () => {
      await using first = start("third");
      await eventually(async () => (await holder()) === "third", { deadlineMs: 30_000 });
      await using second = start("fourth");
      await delay(LEASE_MS);
      first.process.kill("SIGTERM");
      await eventually(async () => (await holder()) === "fourth", { deadlineMs: LEASE_MS });
      expect(await first.ended()).toBe(0);
      second.process.kill("SIGTERM");
      expect(await second.ended()).toBe(0);
    },
    TIMEOUT_MS,
  );
});
