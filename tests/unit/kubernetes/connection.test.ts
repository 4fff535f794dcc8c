import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { mkdtempSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  fixedConnection,
  inClusterConnection,
  kubeconfigConnection,
} from "../../../kubernetes/connection.ts";
import { VirtualClock } from "./virtual-clock.ts";

let directory: string;
const write = (file: string, text: string): void => writeFileSync(join(directory, file), text);
const inCluster = { host: "10.96.0.1", port: "443" };

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "connection-"));
  write("token", "first\n");
  write("ca.crt", "CA 1");
  write("namespace", "metallb-system");
});
afterEach(() => rmSync(directory, { recursive: true }));

test("a pod finds server, namespace, CA and token", async () => {
  const connection = inClusterConnection(new VirtualClock(), { directory, ...inCluster });
  expect(connection.server.href).toBe("https://10.96.0.1/");
  expect(connection.namespace).toBe("metallb-system");
  expect(await connection.credentials()).toEqual({
    tls: { ca: "CA 1" },
    headers: { authorization: "Bearer first" },
  });
});

test("an IPv6 host gets its brackets", () => {
  const connection = inClusterConnection(new VirtualClock(), {
    directory,
    host: "fd00:96::1",
    port: "6443",
  });
  expect(connection.server.href).toBe("https://[fd00:96::1]:6443/");
});

test("a replaced token counts after ten seconds, or at once when the old one was refused", async () => {
  const clock = new VirtualClock();
  const connection = inClusterConnection(clock, { directory, ...inCluster });
  const token = async (): Promise<string | undefined> =>
    (await connection.credentials()).headers["authorization"];
  await token();
  write("token", "second");
  expect(await token()).toBe("Bearer first");
  connection.invalidate();
  expect(await token()).toBe("Bearer second");
  write("token", "third");
  clock.freeze(10_000);
  expect(await token()).toBe("Bearer third");
});

test("keeps the last token while the files are being replaced", async () => {
  const connection = inClusterConnection(new VirtualClock(), { directory, ...inCluster });
  await connection.credentials();
  unlinkSync(join(directory, "token"));
  connection.invalidate();
  expect((await connection.credentials()).headers).toEqual({ authorization: "Bearer first" });
});

test("names what is missing", async () => {
  expect(() => inClusterConnection(new VirtualClock(), { directory, host: "" })).toThrow(
    /KUBERNETES_SERVICE_HOST/,
  );
  const connection = inClusterConnection(new VirtualClock(), {
    directory: "/nowhere",
    ...inCluster,
  });
  await expect(connection.credentials()).rejects.toMatchObject({
    code: "Configuration",
    message: expect.stringContaining("/nowhere/ca.crt") as unknown,
  });
});

function kubeconfig(user: object, cluster: object = {}): string {
  const path = join(directory, "config");
  write(
    "config",
    JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "c", cluster: { server: "https://api.test:6443", ...cluster } }],
      users: [{ name: "u", user }],
      contexts: [{ name: "x", context: { cluster: "c", user: "u", namespace: "n" } }],
      "current-context": "x",
    }),
  );
  return path;
}

const base64 = (text: string): string => Buffer.from(text).toString("base64");

for (const { name, user, headers } of [
  { name: "a token", user: { token: "t" }, headers: { authorization: "Bearer t" } },
  {
    name: "a name and password",
    user: { username: "a", password: "b" },
    headers: { authorization: `Basic ${base64("a:b")}` },
  },
  {
    name: "a certificate",
    user: { "client-certificate-data": base64("CERT"), "client-key-data": base64("KEY") },
    headers: {},
  },
]) {
  test(`a kubeconfig can identify with ${name}`, async () => {
    const path = kubeconfig(user, {
      "certificate-authority-data": base64("CA"),
      "tls-server-name": "name",
    });
    const connection = await kubeconfigConnection(new VirtualClock(), path);
    expect(connection.server.href).toBe("https://api.test:6443/");
    expect(connection.namespace).toBe("n");
    const credentials = await connection.credentials();
    expect(credentials.headers).toEqual(headers);
    expect(String(credentials.tls.ca)).toBe("CA");
    expect(credentials.tls.servername).toBe("name");
    const expected = "client-key-data" in user ? Buffer.from("KEY") : undefined;
    expect(credentials.tls.key).toEqual(expected);
  });
}

test("a kubeconfig's exec plugin is asked", async () => {
  const status = {
    kind: "ExecCredential",
    apiVersion: "client.authentication.k8s.io/v1",
    status: { token: "from-plugin" },
  };
  const exec = {
    apiVersion: "client.authentication.k8s.io/v1",
    command: "echo",
    args: [JSON.stringify(status)],
    interactiveMode: "Never",
  };
  const connection = await kubeconfigConnection(new VirtualClock(), kubeconfig({ exec }));
  expect((await connection.credentials()).headers).toEqual({ authorization: "Bearer from-plugin" });
});

test("a kubeconfig is read again when the server refused what it said", async () => {
  const path = kubeconfig({ token: "first" });
  const connection = await kubeconfigConnection(new VirtualClock(), path);
  await connection.credentials();
  kubeconfig({ token: "second" });
  connection.invalidate();
  expect((await connection.credentials()).headers).toEqual({ authorization: "Bearer second" });
});

test("says which kubeconfig cannot be read, and which context names nothing", async () => {
  const missing = kubeconfigConnection(new VirtualClock(), "/nowhere/config");
  await expect(missing).rejects.toMatchObject({
    code: "Configuration",
    message: "reading kubeconfig /nowhere/config",
  });
  write(
    "config",
    JSON.stringify({ clusters: [], users: [], contexts: [], "current-context": "gone" }),
  );
  const empty = kubeconfigConnection(new VirtualClock(), join(directory, "config"));
  await expect(empty).rejects.toThrow(/context "gone"/);
});

test("a fixed connection stays what it is", async () => {
  const connection = fixedConnection("http://127.0.0.1:1", { headers: { a: "b" } });
  connection.invalidate();
  expect(await connection.credentials()).toEqual({ tls: {}, headers: { a: "b" } });
});
