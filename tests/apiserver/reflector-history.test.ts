import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { setTimeout as delay } from "node:timers/promises";
import { createClient, type Client } from "../../kubernetes/client.ts";
import { Metrics } from "../../kubernetes/metrics.ts";
import { NAMESPACES, SERVICES } from "../../kubernetes/resources.ts";
import { ControlPlane, UP_TIMEOUT_MS } from "../support/control-plane.ts";
import { describeWith } from "../support/requirements.ts";
import { expectEqualToFreshList, mirrorServices } from "./mirror.ts";
import { Processes } from "./processes.ts";

const TIMEOUT_MS = 300_000;
const NAMESPACE = "history";
const AWAY_MS = 30_000;

describeWith("setpriv")("a reflector whose API server comes back with another history", () => {
  let plane: ControlPlane;
  let processes: Processes;
  let direct: Client;

  beforeAll(async () => {
    plane = await ControlPlane.up();
    processes = new Processes(plane);
    direct = await createClient({ program: "test", kubeconfig: plane.kubeconfig });
    await direct.apply(NAMESPACES, { metadata: { name: NAMESPACE } });
  }, UP_TIMEOUT_MS);

  afterAll(async () => {
    direct.close();
    await processes[Symbol.asyncDispose]();
    await plane[Symbol.asyncDispose]();
  });

  const applyMany = (count: number, note: string): Promise<unknown> =>
    Promise.all(
      Array.from({ length: count }, (_, index) =>
        direct.apply(SERVICES, {
          metadata: { name: `s${index}`, namespace: NAMESPACE, annotations: { note } },
          spec: { clusterIP: "None", ports: [{ port: 80 }] },
        }),
      ),
    );
  const remove = (index: number): Promise<boolean> =>
    direct.delete(SERVICES, { name: `s${index}`, namespace: NAMESPACE });

  test(
    "follows it after 30 s of absence, its old history compacted away",
    async () => {
      using client = await createClient({ program: "test", kubeconfig: plane.kubeconfig });
      await applyMany(20, "before");
      await using mirrored = mirrorServices(client);
      await mirrored.reflector.synced();
      await processes.stopServer();
      await processes.compact();
      await delay(AWAY_MS);
      await processes.startServer();
      await remove(1);
      await applyMany(1, "after");
      await expectEqualToFreshList(mirrored, direct, SERVICES);
    },
    TIMEOUT_MS,
  );

  test(
    "goes back with an etcd that was restored from an older snapshot",
    async () => {
      const metrics = new Metrics();
      using client = await createClient({ program: "test", kubeconfig: plane.kubeconfig });
      await applyMany(20, "old");
      await processes.stopServer();
      await processes.copy();
      await processes.startServer();
      await using mirrored = mirrorServices(client, { metrics });
      await mirrored.reflector.synced();
      for (let index = 10; index < 20; index++) await remove(index);
      await applyMany(5, "lost");
      await expectEqualToFreshList(mirrored, direct, SERVICES);
      await processes.stopServer();
      await processes.restore();
      await processes.startServer();
      // The same versions are given again, for other content.
      await applyMany(10, "written anew");
      await expectEqualToFreshList(mirrored, direct, SERVICES);
      const note = (index: number): string | undefined =>
        mirrored.reflector.store.get(`${NAMESPACE}/s${index}`)?.metadata.annotations?.["note"];
      expect([note(3), note(15)]).toEqual(["written anew", "old"]);
    },
    TIMEOUT_MS,
  );
});
