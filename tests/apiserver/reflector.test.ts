import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { issueCertificate } from "../../kubernetes/certificate.ts";
import { createClient, type Client } from "../../kubernetes/client.ts";
import { systemClock, type Clock } from "../../kubernetes/clock.ts";
import { fixedConnection, inClusterConnection } from "../../kubernetes/connection.ts";
import { Metrics } from "../../kubernetes/metrics.ts";
import { NAMESPACES, SERVICES, type Service } from "../../kubernetes/resources.ts";
import { ControlPlane, UP_TIMEOUT_MS } from "../support/control-plane.ts";
import { eventually } from "../support/eventually.ts";
import { FaultProxy, TcpProxy, type Fault } from "../support/fault-proxy.ts";
import { describeWith } from "../support/requirements.ts";
import { expectEqualToFreshList, mirrorServices } from "./mirror.ts";

const TIMEOUT_MS = 180_000;
const NAMESPACE = "reflected";

describeWith("setpriv")("a reflector against a real API server", () => {
  let plane: ControlPlane;
  let direct: Client;

  beforeAll(async () => {
    plane = await ControlPlane.up();
    direct = await createClient({ program: "test", kubeconfig: plane.kubeconfig });
    await direct.apply(NAMESPACES, { metadata: { name: NAMESPACE } });
  }, UP_TIMEOUT_MS);

  afterAll(async () => {
    direct.close();
    await plane[Symbol.asyncDispose]();
  });

  const name = (index: number): string => `s${index}`;
  const apply = (index: number, note: string): Promise<Service> =>
    direct.apply(SERVICES, {
      metadata: { name: name(index), namespace: NAMESPACE, annotations: { note } },
      spec: { clusterIP: "None", ports: [{ port: 80 }] },
    });
  const applyMany = (count: number, note: string): Promise<unknown> =>
    Promise.all(Array.from({ length: count }, (_, index) => apply(index, note)));
  const remove = (index: number): Promise<boolean> =>
    direct.delete(SERVICES, { name: name(index), namespace: NAMESPACE });
  const removeAll = async (): Promise<void> => {
    const { items } = await direct.list(SERVICES, { namespace: NAMESPACE });
    await Promise.all(items.map(({ metadata }) => direct.delete(SERVICES, { ...metadata })));
  };

  const proxy = async (): Promise<FaultProxy> => {
    const [ca, cert, key] = await Promise.all(
      ["ca.crt", "admin.crt", "admin.key"].map((file) => readFile(join(plane.directory, file))),
    );
    return FaultProxy.start({ server: plane.server, ca: ca!, cert: cert!, key: key! });
  };
  const clientOf = (origin: string): Promise<Client> =>
    createClient({ program: "test", connection: fixedConnection(origin) });

  test(
    "follows what happens, with one streaming list and one watch",
    async () => {
      await using faults = await proxy();
      using client = await clientOf(faults.origin);
      await removeAll();
      await applyMany(20, "before");
      await using mirrored = mirrorServices(client);
      await mirrored.reflector.synced();
      await applyMany(20, "after");
      await remove(3);
      await expectEqualToFreshList(mirrored, direct, SERVICES);
      expect(faults.requests).toHaveLength(1);
      expect(faults.requests[0]).toContain("sendInitialEvents=true");
    },
    TIMEOUT_MS,
  );

  test(
    "resumes after a reset without listing again",
    async () => {
      await using faults = await proxy();
      using client = await clientOf(faults.origin);
      await using mirrored = mirrorServices(client);
      await mirrored.reflector.synced();
      for (let round = 0; round < 5; round++) {
        faults.reset();
        await applyMany(10, `round ${round}`);
        await expectEqualToFreshList(mirrored, direct, SERVICES);
      }
      expect(faults.requests.filter((each) => each.includes("sendInitialEvents"))).toHaveLength(1);
    },
    TIMEOUT_MS,
  );

  test(
    "finds a connection that went silent and opens another",
    async () => {
      const { hostname, port } = new URL(plane.server);
      await using wire = await TcpProxy.start({ host: hostname, port: Number(port) });
      const ca = await readFile(join(plane.directory, "ca.crt"));
      const cert = await readFile(join(plane.directory, "admin.crt"));
      const key = await readFile(join(plane.directory, "admin.key"));
      const connection = fixedConnection(`https://127.0.0.1:${wire.port}`, {
        tls: { ca, cert, key },
      });
      using client = await createClient({ program: "test", connection });
      await using mirrored = mirrorServices(client, { silenceMs: 1_000 });
      await mirrored.reflector.synced();
      wire.freeze();
      await applyMany(10, "unseen");
      await eventually(() => wire.accepted > 1);
      wire.thaw();
      await expectEqualToFreshList(mirrored, direct, SERVICES);
    },
    TIMEOUT_MS,
  );

  test(
    "sees the deletion of 500 objects that happened while it was away",
    async () => {
      await using faults = await proxy();
      using client = await clientOf(faults.origin);
      await applyMany(500, "many");
      await using mirrored = mirrorServices(client);
      await mirrored.reflector.synced();
      faults.fault = () => ({ status: 503, body: { reason: "ServiceUnavailable" } });
      faults.reset();
      await removeAll();
      await apply(1, "again");
      faults.fault = () => undefined;
      await expectEqualToFreshList(mirrored, direct, SERVICES);
      const left = [...mirrored.reflector.store.keys()].filter((key) => key.startsWith(NAMESPACE));
      expect(left).toEqual([`${NAMESPACE}/s1`]);
    },
    TIMEOUT_MS,
  );

  test(
    "lives through a storm of 429 and asks no more often than it is told",
    async () => {
      await using faults = await proxy();
      using client = await clientOf(faults.origin);
      await using mirrored = mirrorServices(client);
      await mirrored.reflector.synced();
      faults.fault = () => ({ status: 429, headers: { "retry-after": "1" } });
      const before = faults.requests.length;
      faults.reset();
      await applyMany(10, "storm");
      await eventually(() => faults.requests.length - before >= 3);
      faults.fault = () => undefined;
      await expectEqualToFreshList(mirrored, direct, SERVICES);
      expect(faults.requests.filter((each) => each.includes("sendInitialEvents"))).toHaveLength(1);
    },
    TIMEOUT_MS,
  );

  for (const { what, fault } of faultsOfOneWatch()) {
    test(
      `lives through ${what}`,
      async () => {
        await using faults = await proxy();
        using client = await clientOf(faults.origin);
        await applyMany(5, "before");
        await using mirrored = mirrorServices(client);
        await mirrored.reflector.synced();
        let struck = 0;
        faults.fault = ({ url }) =>
          url?.includes("watch=true") && struck++ < 2 ? fault() : undefined;
        faults.reset();
        await eventually(() => struck > 0);
        await applyMany(5, `naïve 日本 🚦 ${what}`);
        await eventually(() => struck > 2 || mirrored.mirror.changes > 0);
        await remove(2);
        await expectEqualToFreshList(mirrored, direct, SERVICES);
      },
      TIMEOUT_MS,
    );
  }

  test(
    "a handler that throws loses nothing for the others",
    async () => {
      await using faults = await proxy();
      using client = await clientOf(faults.origin);
      const metrics = new Metrics();
      await using mirrored = mirrorServices(client, { metrics });
      mirrored.reflector.onChange(() => {
        throw new Error("bug");
      });
      await mirrored.reflector.synced();
      await applyMany(10, "thrown at");
      await expectEqualToFreshList(mirrored, direct, SERVICES);
      expect(faults.requests).toHaveLength(1);
      expect(await metrics.registry.metrics()).not.toContain(
        'handler_errors_total{resource="services"} 0',
      );
    },
    TIMEOUT_MS,
  );

  test(
    "does not care about a wall clock that is set back an hour",
    async () => {
      await using faults = await proxy();
      let offset = 0;
      const clock: Clock = { ...systemClock, wallMs: () => systemClock.wallMs() + offset };
      using client = await createClient({
        program: "test",
        connection: fixedConnection(faults.origin),
        clock,
      });
      await using mirrored = mirrorServices(client, { clock });
      await mirrored.reflector.synced();
      offset = -3_600_000;
      await applyMany(5, "an hour ago");
      faults.reset();
      await applyMany(5, "still an hour ago");
      await expectEqualToFreshList(mirrored, direct, SERVICES);
    },
    TIMEOUT_MS,
  );

  test(
    "reads a replaced token at once when the old one is refused",
    async () => {
      const { hostname, port } = new URL(plane.server);
      await using wire = await TcpProxy.start({ host: hostname, port: Number(port) });
      await using folder = await serviceAccountFolder();
      const verbs = ["--verb=get,list,watch", "--resource=services"];
      await plane.kubectl("create", "clusterrole", "watcher", ...verbs);
      const subject = `--serviceaccount=${NAMESPACE}:watcher`;
      await plane.kubectl(
        "create",
        "clusterrolebinding",
        "watcher",
        "--clusterrole=watcher",
        subject,
      );
      const account = async (): Promise<void> => {
        await plane.kubectl("create", "serviceaccount", "watcher", "-n", NAMESPACE);
        await folder.replace("token", await plane.token(NAMESPACE, "watcher"));
      };
      await account();
      await folder.replace("ca.crt", await readFile(join(plane.directory, "ca.crt"), "utf8"));
      const connection = inClusterConnection(systemClock, {
        directory: folder.path,
        host: "127.0.0.1",
        port: String(wire.port),
      });
      using client = await createClient({ program: "test", connection });
      await using mirrored = mirrorServices(client);
      await mirrored.reflector.synced();
      // A new account of the same name: the old token is void, as after its rotation and expiry.
      await plane.kubectl("delete", "serviceaccount", "watcher", "-n", NAMESPACE);
      await account();
      wire.reset();
      await applyMany(5, "new token");
      await expectEqualToFreshList(mirrored, direct, SERVICES);
      expect(await client.get(SERVICES, { name: name(1), namespace: NAMESPACE })).toBeDefined();
    },
    TIMEOUT_MS,
  );

  test(
    "reads a replaced CA when the certificate is not to be trusted any more",
    async () => {
      const [ca, cert, key] = await Promise.all(
        ["ca.crt", "admin.crt", "admin.key"].map((file) => readFile(join(plane.directory, file))),
      );
      await using folder = await serviceAccountFolder();
      const first = authority();
      const second = authority();
      const upstream = { server: plane.server, ca: ca!, cert: cert!, key: key! };
      await using faults = await FaultProxy.start({ ...upstream, tls: first.server });
      await folder.replace("token", "unused");
      await folder.replace("ca.crt", first.ca);
      const connection = inClusterConnection(systemClock, {
        directory: folder.path,
        host: "127.0.0.1",
        port: String(faults.port),
      });
      using client = await createClient({ program: "test", connection });
      await using mirrored = mirrorServices(client);
      await mirrored.reflector.synced();
      faults.setCertificate(second.server);
      await folder.replace("ca.crt", second.ca);
      faults.reset();
      await applyMany(5, "new authority");
      await expectEqualToFreshList(mirrored, direct, SERVICES);
    },
    TIMEOUT_MS,
  );
});

/** Faults that the proxy puts into one watch. */
function faultsOfOneWatch(): { readonly what: string; readonly fault: () => Fault }[] {
  const errorEvent = (code: number, reason: string): string =>
    `${JSON.stringify({ type: "ERROR", object: { kind: "Status", code, reason, message: reason } })}\n`;
  const instead = (text: string) => (): Fault => ({
    edit: (_chunk, control) => (control.reset(), [text]),
  });
  const errors = [
    [410, "Expired"],
    [410, "Gone"],
    [500, "InternalError"],
    [504, "Timeout"],
    [429, "TooManyRequests"],
    [403, "Forbidden"],
  ] as const;
  return [
    ...errors.map(([code, reason]) => ({
      what: `an ERROR event ${code} ${reason}`,
      fault: instead(errorEvent(code, reason)),
    })),
    {
      what: "a line cut in the middle",
      fault: () => ({
        edit: (chunk, control) => (control.reset(), [chunk.subarray(0, chunk.length / 2)]),
      }),
    },
    { what: "a line that is no JSON", fault: instead("{]\n") },
    { what: "a line that is no event", fault: instead('{"hello":"world"}\n') },
    {
      what: "characters split over chunks of one octet",
      fault: () => ({ edit: (chunk) => Array.from(chunk, (octet) => Buffer.from([octet])) }),
    },
    {
      what: "an event of 5 MB for an object that nobody keeps",
      fault: () => ({
        edit: (chunk) => {
          const object = { metadata: {}, filling: "x".repeat(5_000_000) };
          return [`${JSON.stringify({ type: "BOOKMARK", object })}\n`, chunk];
        },
      }),
    },
  ];
}

interface Folder extends AsyncDisposable {
  readonly path: string;
  replace(file: string, text: string): Promise<void>;
}

async function serviceAccountFolder(): Promise<Folder> {
  const path = await mkdtemp(join(tmpdir(), "service-account-"));
  return {
    path,
    replace: async (file, text) => {
      await writeFile(join(path, `${file}.new`), text);
      await rename(join(path, `${file}.new`), join(path, file));
    },
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

/** A CA and a server certificate of it. */
function authority(): {
  readonly ca: string;
  readonly server: { readonly cert: string; readonly key: string };
} {
  const validity = {
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 3_600_000),
  };
  const issuer = issueCertificate({ commonName: "test", ca: true, ...validity });
  const server = issueCertificate({
    commonName: "server",
    ipAddresses: ["127.0.0.1"],
    issuer,
    ...validity,
  });
  return { ca: issuer.certificate, server: { cert: server.certificate, key: server.key } };
}
