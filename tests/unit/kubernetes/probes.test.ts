import { expect, test } from "@jest/globals";
import { evaluate, startProbes } from "../../../kubernetes/probes.ts";

test("says of each check how it is, with the reason of what fails", () => {
  const checks = [
    { name: "reflectors", check: () => undefined },
    { name: "leader", check: () => "held by controller-abc" },
  ];
  expect(evaluate("readyz", checks)).toEqual({
    ok: false,
    text: "[+]reflectors ok\n[-]leader failed: held by controller-abc\nreadyz check failed\n",
  });
  expect(evaluate("readyz", checks.slice(0, 1)).ok).toBe(true);
});

test("a check that throws counts as failed", () => {
  const check = (): never => {
    throw new Error("bug");
  };
  expect(evaluate("healthz", [{ name: "x", check }])).toMatchObject({ ok: false });
});

test("answers over HTTP, and follows what changes", async () => {
  let reason: string | undefined = "not yet listed";
  const probes = await startProbes({
    port: 0,
    host: "127.0.0.1",
    readyz: [{ name: "reflector", check: () => reason }],
  });
  const get = async (path: string): Promise<string> => {
    const response = await fetch(`http://127.0.0.1:${probes.port}${path}`);
    return `${response.status} ${await response.text()}`;
  };
  expect(await get("/readyz")).toBe(
    "503 [-]reflector failed: not yet listed\nreadyz check failed\n",
  );
  expect(await get("/healthz?verbose")).toBe("200 healthz check passed\n");
  reason = undefined;
  expect(await get("/readyz")).toMatch(/^200 /);
  probes.add("readyz", { name: "shutdown", check: () => "shutting down" });
  expect(await get("/readyz")).toMatch(/^503 /);
  expect(await get("/metrics")).toMatch(/^404 /);
  await probes.close();
});

test("refuses a port that is taken", async () => {
  const first = await startProbes({ port: 0, host: "127.0.0.1" });
  const second = startProbes({ port: first.port, host: "127.0.0.1" });
  await expect(second).rejects.toMatchObject({ code: "EADDRINUSE" });
  await first.close();
});

test("serves further documents, and says why one cannot be read", async () => {
  const probes = await startProbes({ port: 0, host: "127.0.0.1" });
  const body = Uint8Array.of(0xd4, 0xc3, 0, 255);
  probes.serve("/exchanges.pcap", () => Promise.resolve({ contentType: "application/x", body }));
  probes.serve("/broken", () => Promise.reject(new Error("the thread has ended")));
  const get = (path: string, method = "GET"): Promise<Response> =>
    fetch(`http://127.0.0.1:${probes.port}${path}`, { method });
  const whole = await get("/exchanges.pcap?x");
  expect([whole.status, whole.headers.get("content-type")]).toEqual([200, "application/x"]);
  expect(await whole.bytes()).toEqual(body);
  const broken = await get("/broken");
  expect([broken.status, await broken.text()]).toEqual([500, "the thread has ended\n"]);
  expect((await get("/exchanges.pcap", "POST")).status).toBe(404);
  expect(await (await get("/other")).text()).toBe(
    "not found: here are /healthz, /readyz, /exchanges.pcap, /broken\n",
  );
  await probes.close();
});

test("a further path is told the query and the Accept header, and answers any status", async () => {
  const probes = await startProbes({ port: 0, host: "127.0.0.1" });
  probes.serve("/verdict", ({ query, accept = "" }) =>
    Promise.resolve({
      status: 404,
      contentType: "text/plain",
      body: `${query.get("service") ?? ""} ${accept}`,
    }),
  );
  const response = await fetch(`http://127.0.0.1:${probes.port}/verdict?service=a%2Fb`, {
    headers: { accept: "text/x" },
  });
  expect(response.status).toBe(404);
  expect(await response.text()).toBe("a/b text/x");
  await probes.close();
});
