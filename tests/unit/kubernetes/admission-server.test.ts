import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { request } from "node:https";
import {
  startAdmissionServer,
  type AdmissionAnswer,
  type AdmissionServer,
} from "../../../kubernetes/admission-server.ts";
import { issueCertificate } from "../../../kubernetes/certificate.ts";

const DAY_MS = 86_400_000;
const CERTIFICATE = issueCertificate({
  commonName: "webhook",
  dnsNames: ["localhost"],
  notBefore: new Date(Date.now() - DAY_MS),
  notAfter: new Date(Date.now() + DAY_MS),
});
const REVIEW = {
  apiVersion: "admission.k8s.io/v1",
  kind: "AdmissionReview",
  request: {
    uid: "0a1b",
    kind: { group: "metallb.io", version: "v1beta1", kind: "AddressPool" },
    operation: "CREATE",
    object: {},
  },
};

let server: AdmissionServer;
let answer: () => AdmissionAnswer = () => ({ allowed: true });

async function ask(
  body: string,
  path = "/validate",
  method = "POST",
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const options = { host: "localhost", port: server.port, path, method };
    const outgoing = request({ ...options, ca: CERTIFICATE.certificate }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
    });
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

const reviewed = async (): Promise<unknown> =>
  (JSON.parse((await ask(JSON.stringify(REVIEW))).text) as { response: unknown }).response;

describe("the admission endpoint", () => {
  beforeAll(async () => {
    server = await startAdmissionServer({
      port: 0,
      host: "localhost",
      certificate: { cert: CERTIFICATE.certificate, key: CERTIFICATE.key },
      handlers: { "/validate": () => answer() },
    });
  });

  afterAll(async () => {
    await server.close();
  });

  test("lets through, with warnings if there are any", async () => {
    answer = () => ({ allowed: true, warnings: [] });
    expect(await reviewed()).toEqual({ uid: "0a1b", allowed: true });
    answer = () => ({ allowed: true, warnings: ["in the wrong place"] });
    expect(await reviewed()).toMatchObject({ allowed: true, warnings: ["in the wrong place"] });
  });

  test("refuses with the message, as the API server refuses what is invalid", async () => {
    answer = () => ({ allowed: false, message: "spec.addresses: overlap" });
    expect(await reviewed()).toEqual({
      uid: "0a1b",
      allowed: false,
      status: { code: 422, reason: "Invalid", message: "spec.addresses: overlap" },
    });
  });

  for (const { name, body, path, method, status } of [
    { name: "no JSON", body: "{", status: 400 },
    { name: "JSON that is null", body: "null", status: 400 },
    { name: "no review", body: "{}", status: 400 },
    { name: "a review without a uid", body: '{"request":{"kind":{"kind":"A"}}}', status: 400 },
    { name: "a review without a kind", body: '{"request":{"uid":"1","kind":null}}', status: 400 },
    { name: "another path", body: JSON.stringify(REVIEW), path: "/other", status: 404 },
    { name: "a name of JavaScript's own", body: "{}", path: "/constructor", status: 404 },
    { name: "another method", body: "", method: "GET", status: 404 },
    { name: "more than an object can be", body: "x".repeat(7 * 1024 * 1024 + 1), status: 413 },
  ])
    test(`answers ${status} to ${name}, and goes on`, async () => {
      expect((await ask(body, path, method)).status).toBe(status);
      answer = () => ({ allowed: true });
      expect(await reviewed()).toEqual({ uid: "0a1b", allowed: true });
    });

  test("answers 500 when a handler throws, and goes on", async () => {
    answer = () => {
      throw new Error("planted");
    };
    expect((await ask(JSON.stringify(REVIEW))).status).toBe(500);
    answer = () => ({ allowed: true });
    expect(await reviewed()).toEqual({ uid: "0a1b", allowed: true });
  });
});
