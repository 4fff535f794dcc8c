import { expect, test } from "@jest/globals";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { issueCertificate } from "../../../kubernetes/certificate.ts";
import { OperatorError } from "../../../kubernetes/errors.ts";
import { Metrics } from "../../../kubernetes/metrics.ts";
import {
  startMetricsServer,
  type MetricsServerOptions,
} from "../../../kubernetes/metrics-server.ts";
import { eventually } from "../../support/eventually.ts";
import { VirtualClock } from "./virtual-clock.ts";

interface Answer {
  readonly status: number | undefined;
  readonly subject: string | undefined;
}

function get(port: number, token?: string): Promise<Answer> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const options = {
    host: "127.0.0.1",
    port,
    path: "/metrics",
    headers,
    rejectUnauthorized: false,
    agent: false,
  };
  return new Promise((resolve, reject) => {
    request(options, (response) => {
      response.resume();
      // Over HTTPS it is a TLS socket; the rule takes that for another class.
      // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment
      const { subject } = (response.socket as TLSSocket).getPeerCertificate();
      resolve({ status: response.statusCode, subject: String(subject.CN) });
    })
      .on("error", reject)
      .end();
  });
}

type ReviewClient = NonNullable<MetricsServerOptions["client"]>;

/** Token `good` is a user who may, `bad` one who may not; counts the questions. */
function reviewer(): { readonly client: ReviewClient; questions: number; away: boolean } {
  const state = {
    questions: 0,
    away: false,
    client: {
      raw: (_method: string, path: string, body: { spec: { token?: string; user?: string } }) => {
        state.questions++;
        if (state.away) return Promise.reject(new OperatorError("Unreachable", "asking"));
        const { token, user } = body.spec;
        if (path.endsWith("/tokenreviews")) {
          const known = token === "good" || token === "bad";
          return Promise.resolve({
            status: known ? { authenticated: true, user: { username: token } } : {},
          });
        }
        return Promise.resolve({ status: { allowed: user === "good" } });
      },
    } as unknown as ReviewClient,
  };
  return state;
}

const common = { port: 0, host: "127.0.0.1" } as const;

test("plain HTTP only when asked for, without questions", async () => {
  const metrics = new Metrics();
  const server = await startMetricsServer({ ...common, metrics, scheme: "http" });
  const response = await fetch(`http://127.0.0.1:${server.port}/metrics`);
  expect(response.status).toBe(200);
  expect(await response.text()).toContain("rest_client_requests_total");
  expect((await fetch(`http://127.0.0.1:${server.port}/`)).status).toBe(404);
  await server.close();
});

test("asks who comes and whether they may, and remembers the answer for a minute", async () => {
  const review = reviewer();
  const clock = new VirtualClock();
  const server = await startMetricsServer({
    ...common,
    metrics: new Metrics(),
    scheme: "https",
    client: review.client,
    clock,
  });
  expect(await get(server.port, "good")).toMatchObject({ status: 200 });
  expect(await get(server.port, "good")).toMatchObject({ status: 200 });
  expect(review.questions).toBe(2);
  expect(await get(server.port, "bad")).toMatchObject({ status: 403 });
  expect(await get(server.port, "unknown")).toMatchObject({ status: 401 });
  expect(await get(server.port)).toMatchObject({ status: 401 });
  const before = review.questions;
  clock.freeze(60_001);
  expect(await get(server.port, "good")).toMatchObject({ status: 200 });
  expect(review.questions).toBe(before + 2);
  await server.close();
});

test("an API server that is away is no permission and no lasting refusal", async () => {
  const review = reviewer();
  review.away = true;
  const server = await startMetricsServer({
    ...common,
    metrics: new Metrics(),
    scheme: "https",
    client: review.client,
  });
  expect(await get(server.port, "good")).toMatchObject({ status: 503 });
  review.away = false;
  expect(await get(server.port, "good")).toMatchObject({ status: 200 });
  await server.close();
});

test("shows the certificate of its folder, and a replaced one without restart", async () => {
  const directory = mkdtempSync(join(tmpdir(), "metrics-"));
  const now = Date.now();
  const install = (commonName: string): void => {
    const pair = issueCertificate({
      commonName,
      notBefore: new Date(now - 60_000),
      notAfter: new Date(now + 600_000),
    });
    writeFileSync(join(directory, "tls.crt"), pair.certificate);
    writeFileSync(join(directory, "tls.key"), pair.key);
  };
  install("first");
  const { client } = reviewer();
  const options = { ...common, metrics: new Metrics(), scheme: "https", client } as const;
  const server = await startMetricsServer({
    ...options,
    certificateDirectory: directory,
    rereadMs: 5,
  });
  expect((await get(server.port)).subject).toBe("first");
  install("second");
  await eventually(async () => (await get(server.port)).subject === "second");
  await server.close();
  rmSync(directory, { recursive: true });
});

test("refuses to ask without a client", async () => {
  await expect(
    startMetricsServer({ ...common, metrics: new Metrics(), scheme: "https" }),
  ).rejects.toThrow(TypeError);
});
