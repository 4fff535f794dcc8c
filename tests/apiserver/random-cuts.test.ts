import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createClient, type Client } from "../../kubernetes/client.ts";
import { fixedConnection } from "../../kubernetes/connection.ts";
import { NAMESPACES, SERVICES } from "../../kubernetes/resources.ts";
import { ControlPlane, UP_TIMEOUT_MS } from "../support/control-plane.ts";
import { FaultProxy, type Fault } from "../support/fault-proxy.ts";
import { describeWith } from "../support/requirements.ts";
import { expectEqualToFreshList, mirrorServices } from "./mirror.ts";

const RUN_MS = 60_000;
const NAMES = 60;
const namespace = "random";

/** SEED=n runs the same choices again; what the network makes of them is not part of it. */
const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));

describeWith("setpriv")("a reflector behind a proxy that cuts at random", () => {
  let plane: ControlPlane;
  let direct: Client;

  beforeAll(async () => {
    plane = await ControlPlane.up();
    direct = await createClient({ program: "test", kubeconfig: plane.kubeconfig });
    await direct.apply(NAMESPACES, { metadata: { name: namespace } });
  }, UP_TIMEOUT_MS);

  afterAll(async () => {
    direct.close();
    await plane[Symbol.asyncDispose]();
  });

  test(
    `holds what the server holds after a minute of changes and cuts (SEED=${seed})`,
    async () => {
      const random = generator(seed);
      const [ca, cert, key] = await Promise.all(
        ["ca.crt", "admin.crt", "admin.key"].map((file) => readFile(join(plane.directory, file))),
      );
      await using proxy = await FaultProxy.start({
        server: plane.server,
        ca: ca!,
        cert: cert!,
        key: key!,
      });
      using client = await createClient({
        program: "test",
        connection: fixedConnection(proxy.origin),
      });
      proxy.fault = () => (random() < 0.7 ? undefined : chooseFault(random));
      await using mirrored = mirrorServices(client);
      const end = performance.now() + RUN_MS;
      const changing = change(random, end);
      while (performance.now() < end) {
        await delay(random() * 400);
        if (random() < 0.3) proxy.reset();
      }
      await changing;
      proxy.fault = () => undefined;
      await expectEqualToFreshList(mirrored, direct, SERVICES);
      expect(mirrored.mirror.changes).toBeGreaterThan(NAMES);
    },
    RUN_MS + 120_000,
  );

  async function change(random: () => number, end: number): Promise<void> {
    while (performance.now() < end) {
      const metadata = { name: `s${Math.floor(random() * NAMES)}`, namespace };
      if (random() < 0.3) await direct.delete(SERVICES, metadata);
      else {
        const annotations = { note: `naïve 日本 🚦 ${random()}` };
        const spec = { clusterIP: "None", ports: [{ port: 80 }] };
        await direct.apply(SERVICES, { metadata: { ...metadata, annotations }, spec });
      }
      if (random() < 0.05) await delay(random() * 200);
    }
  }
});

/** Numbers in [0, 1), always the same from one seed (mulberry32). */
function generator(from: number): () => number {
  let state = from >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function chooseFault(random: () => number): Fault {
  const cutAfter = Math.floor(random() * 20);
  const share = random();
  let chunks = 0;
  const faults: (() => Fault)[] = [
    () => ({ status: 503, body: { reason: "ServiceUnavailable" } }),
    () => ({ status: 429, headers: { "retry-after": "0" } }),
    () => ({ status: 410, body: { reason: "Expired", code: 410 } }),
    () => ({ status: 401, body: { reason: "Unauthorized" } }),
    () => ({
      edit: (chunk, control) => {
        if (chunks++ < cutAfter) return [chunk];
        control.reset();
        return [chunk.subarray(0, Math.floor(chunk.length * share))];
      },
    }),
    () => ({
      edit: (chunk) => {
        const at = Math.floor(chunk.length * share);
        return [chunk.subarray(0, at), chunk.subarray(at)];
      },
    }),
    () => ({
      edit: (chunk, control) => (chunks++ < cutAfter ? [chunk] : (control.reset(), ["{]\n"])),
    }),
  ];
  return faults[Math.floor(random() * faults.length)]!();
}
