import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { createClient, type Client } from "../../kubernetes/client.ts";
import { EventRecorder } from "../../kubernetes/events.ts";
import { Metrics } from "../../kubernetes/metrics.ts";
import { startMetricsServer } from "../../kubernetes/metrics-server.ts";
import { CONFIG_MAPS, EVENTS, NAMESPACES, SERVICES } from "../../kubernetes/resources.ts";
import { request } from "node:https";
import { ControlPlane, UP_TIMEOUT_MS } from "../support/control-plane.ts";
import { eventually } from "../support/eventually.ts";
import { describeWith } from "../support/requirements.ts";

const namespace = "written";
const TIMEOUT_MS = 60_000;

describeWith("setpriv")("a client of a real API server", () => {
  let plane: ControlPlane;
  let client: Client;

  beforeAll(async () => {
    plane = await ControlPlane.up();
    client = await createClient({ program: "ours", kubeconfig: plane.kubeconfig });
    await client.apply(NAMESPACES, { metadata: { name: namespace } });
  }, UP_TIMEOUT_MS);

  afterAll(async () => {
    client.close();
    await plane[Symbol.asyncDispose]();
  });

  const service = (name: string): { name: string; namespace: string } => ({ name, namespace });
  const spec = { clusterIP: "None", ports: [{ port: 80 }] };

  test("an apply creates, changes only what it says, and drops what it says no more", async () => {
    const metadata = { name: "a", namespace };
    await client.apply(CONFIG_MAPS, { metadata, data: { ours: "1", dropped: "1" } });
    await client.patch(
      CONFIG_MAPS,
      metadata,
      { data: { theirs: "1" } },
      { fieldManager: "kubectl" },
    );
    const after = await client.apply(CONFIG_MAPS, { metadata, data: { ours: "2" } });
    expect(after.data).toEqual({ ours: "2", theirs: "1" });
    expect(after).toMatchObject({ apiVersion: "v1", kind: "ConfigMap" });
  });

  test("an apply without force refuses to take somebody else's field, with force it takes it", async () => {
    const metadata = { name: "b", namespace };
    await client.apply(CONFIG_MAPS, { metadata, data: { x: "theirs" } }, { fieldManager: "other" });
    const polite = client.apply(CONFIG_MAPS, { metadata, data: { x: "ours" } }, { force: false });
    await expect(polite).rejects.toMatchObject({ code: "Conflict" });
    expect((await client.apply(CONFIG_MAPS, { metadata, data: { x: "ours" } })).data).toEqual({
      x: "ours",
    });
  });

  test("an equal apply changes nothing at rest", async () => {
    const object = { metadata: { name: "c", namespace }, data: { x: "1" } };
    const first = await client.apply(CONFIG_MAPS, object);
    const second = await client.apply(CONFIG_MAPS, object);
    expect(second.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
  });

  test("a dry run stores nothing", async () => {
    const metadata = { name: "dry", namespace };
    expect(
      (await client.apply(CONFIG_MAPS, { metadata, data: {} }, { dryRun: true })).metadata.name,
    ).toBe("dry");
    expect(await client.get(CONFIG_MAPS, metadata)).toBeUndefined();
  });

  test("the status is applied apart from the spec", async () => {
    await client.apply(SERVICES, {
      metadata: service("s"),
      spec: { type: "LoadBalancer", ports: [{ port: 80 }] },
    });
    const status = { loadBalancer: { ingress: [{ ip: "192.0.2.1" }] } };
    const applied = await client.applyStatus(SERVICES, { metadata: service("s"), status });
    expect(applied.status?.loadBalancer?.ingress?.[0]?.ip).toBe("192.0.2.1");
    expect(applied.spec?.type).toBe("LoadBalancer");
    const { uid } = applied.metadata;
    await client.delete(SERVICES, applied.metadata);
    const gone = { metadata: { ...service("s"), ...(uid ? { uid } : {}) }, status };
    await expect(client.applyStatus(SERVICES, gone)).rejects.toMatchObject({ code: "Conflict" });
    expect(await client.get(SERVICES, service("s"))).toBeUndefined();
  });

  test("an invalid object names the fields that are refused", async () => {
    const bad = client.apply(SERVICES, {
      metadata: service("bad"),
      spec: { type: "Nonsense", ports: [{ port: 80 }] },
    });
    await expect(bad).rejects.toMatchObject({
      code: "Invalid",
      fields: expect.arrayContaining(["spec.type"]) as unknown,
    });
  });

  test("creates once, replaces only the version it knows, and deletes only the object it means", async () => {
    const metadata = { name: "d", namespace };
    const created = await client.create(CONFIG_MAPS, { metadata, data: {} });
    await expect(client.create(CONFIG_MAPS, { metadata })).rejects.toMatchObject({
      code: "AlreadyExists",
    });
    await client.replace(CONFIG_MAPS, { ...created, data: { x: "1" } });
    await expect(client.replace(CONFIG_MAPS, created)).rejects.toMatchObject({ code: "Conflict" });
    await expect(client.delete(CONFIG_MAPS, metadata, { uid: "another" })).rejects.toMatchObject({
      code: "Conflict",
    });
    expect(await client.delete(CONFIG_MAPS, metadata, { uid: created.metadata.uid ?? "" })).toBe(
      true,
    );
    expect(await client.delete(CONFIG_MAPS, metadata)).toBe(false);
  });

  test("lists all pages of one snapshot, with a selector", async () => {
    const labels = { page: "yes" };
    await Promise.all(
      Array.from({ length: 25 }, (_, index) =>
        client.apply(CONFIG_MAPS, { metadata: { name: `p${index}`, namespace, labels }, data: {} }),
      ),
    );
    const sizes: number[] = [];
    const versions = new Set<string>();
    for await (const page of client.pages(
      CONFIG_MAPS,
      { namespace, labelSelector: "page=yes" },
      10,
    )) {
      sizes.push(page.items.length);
      versions.add(page.resourceVersion);
    }
    expect(sizes).toEqual([10, 10, 5]);
    expect(versions.size).toBe(1);
    const selection = { namespace, labelSelector: "page=yes" };
    const { items } = await client.list(CONFIG_MAPS, selection);
    const found: unknown[] = [];
    for await (const page of client.metadataPages(CONFIG_MAPS, selection, 10))
      found.push(...page.items);
    const [kind, apiVersion] = ["ConfigMap", "v1"];
    expect(found).toEqual(items.map(({ metadata }) => ({ kind, apiVersion, metadata })));
  });

  test("repeated events become one Event with a count, as kubectl shows it", async () => {
    const object = await client.apply(SERVICES, { metadata: service("noisy"), spec });
    const recorder = new EventRecorder({
      client,
      reportingController: "metallb-controller",
      reportingInstance: "test",
    });
    const input = {
      regarding: object,
      type: "Warning",
      reason: "AllocationFailed",
      note: "no address is left",
    } as const;
    for (let turn = 0; turn < 5; turn++) recorder.record(input);
    await recorder.close();
    const { items } = await client.list(EVENTS, {
      namespace,
      fieldSelector: "reason=AllocationFailed",
    });
    expect(items).toMatchObject([{ note: "no address is left", series: { count: 5 } }]);
    expect(await plane.kubectl("describe", "service", "noisy", "-n", namespace)).toContain(
      "AllocationFailed",
    );
  });

  test("an event with a changed note is an Event of its own", async () => {
    const object = await client.apply(SERVICES, { metadata: service("moody"), spec });
    const recorder = new EventRecorder({
      client,
      reportingController: "metallb-controller",
      reportingInstance: "test",
    });
    const input = { regarding: object, type: "Normal", reason: "IPAllocated" } as const;
    recorder.record({ ...input, note: "assigned 192.0.2.1" });
    recorder.record({ ...input, note: "assigned 192.0.2.2" });
    await recorder.close();
    const { items } = await client.list(EVENTS, { namespace, fieldSelector: "reason=IPAllocated" });
    expect(items.map(({ note }) => note).sort()).toEqual([
      "assigned 192.0.2.1",
      "assigned 192.0.2.2",
    ]);
  });

  test(
    "metrics are shown to those who may see them and to nobody else",
    async () => {
      await plane.kubectl("create", "serviceaccount", "prometheus", "-n", namespace);
      await plane.kubectl("create", "serviceaccount", "nobody", "-n", namespace);
      await plane.kubectl(
        "create",
        "clusterrole",
        "metrics",
        "--verb=get",
        "--non-resource-url=/metrics",
      );
      const subject = `--serviceaccount=${namespace}:prometheus`;
      await plane.kubectl(
        "create",
        "clusterrolebinding",
        "metrics",
        "--clusterrole=metrics",
        subject,
      );
      const metrics = new Metrics();
      const server = await startMetricsServer({
        metrics,
        client,
        port: 0,
        host: "127.0.0.1",
        scheme: "https",
      });
      const status = (token?: string, path = "/metrics"): Promise<number | undefined> =>
        read(server.port, path, token);
      const allowed = await plane.token(namespace, "prometheus");
      await eventually(async () => (await status(allowed)) === 200);
      expect(await status(await plane.token(namespace, "nobody"))).toBe(403);
      expect(await status("nonsense")).toBe(401);
      expect(await status()).toBe(401);
      expect(await status(allowed, "/debug")).toBe(404);
      await server.close();
    },
    TIMEOUT_MS,
  );
});

function read(port: number, path: string, token: string | undefined): Promise<number | undefined> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const options = {
    host: "127.0.0.1",
    port,
    path,
    headers,
    rejectUnauthorized: false,
    agent: false,
  };
  return new Promise((resolve, reject) => {
    request(options, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on("error", reject)
      .end();
  });
}
