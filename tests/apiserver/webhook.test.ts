/** The validating webhook as a real API server calls it, and the certificate that it is trusted by. */
import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { issueCertificate, type KeyPair } from "../../kubernetes/certificate.ts";
import { addressPool, metallb, NAMESPACE, withMetalLBSpec } from "../support/builders.ts";
import type { Answer } from "../support/api-call.ts";
import { ControlPlane, UP_TIMEOUT_MS } from "../support/control-plane.ts";
import { eventually } from "../support/eventually.ts";
import { describeWith } from "../support/requirements.ts";
import { refusals, rightsGranted, rightsUnused } from "../support/rights.ts";
import { Admin, conditionOf, installOperator, OperatorProcess } from "./operator-process.ts";

const CONFIGURATION =
  "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/metallb-operator-webhook-configuration";
const POOLS = `/apis/metallb.io/v1beta1/namespaces/${NAMESPACE}/addresspools`;
const TEST_TIMEOUT_MS = 240_000;
const LIFETIME_SECONDS = 60;
const DAY_MS = 86_400_000;

interface Configuration {
  readonly webhooks: readonly { readonly clientConfig: { readonly caBundle?: string } }[];
}

let plane: ControlPlane;
let admin: Admin;
let operator: OperatorProcess;

/** An address of this machine that the API server accepts for an endpoint: not loopback. */
function ownAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const found = all.find(({ family, internal }) => family === "IPv4" && !internal);
  if (found === undefined)
    throw new Error("no address but loopback: no endpoint can be made of it");
  return found.address;
}

/** Makes the Service lead to a running operator, as the endpoints of its pod would. */
async function route(to: OperatorProcess): Promise<void> {
  const port = await to.webhookPort();
  const service = "metallb-operator-webhook-service";
  const slice = {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: "webhook", labels: { "kubernetes.io/service-name": service } },
    addressType: "IPv4",
    endpoints: [{ addresses: [ownAddress()], conditions: { ready: true } }],
    ports: [{ name: "webhook", port, protocol: "TCP" }],
  };
  const path = `/apis/discovery.k8s.io/v1/namespaces/${NAMESPACE}/endpointslices/webhook`;
  const { status, body } = await plane.call({
    method: "PATCH",
    path: `${path}?fieldManager=test&force=true`,
    body: slice,
    contentType: "application/apply-patch+yaml",
  });
  if (status > 201) throw new Error(JSON.stringify(body));
}

async function start(variables: Readonly<Record<string, string>> = {}): Promise<void> {
  operator = await OperatorProcess.start(plane, variables);
  await operator.leading();
  await route(operator);
  await eventually(async () => (await create(overlapping)).status === 422, { deadlineMs: 60_000 });
}

async function bundles(): Promise<string[]> {
  const { body } = await plane.call({ method: "GET", path: CONFIGURATION });
  return (body as Configuration).webhooks.map(({ clientConfig }) => clientConfig.caBundle ?? "");
}

/** Replaces the trusted authorities of all webhooks. */
async function trust(value: string): Promise<void> {
  const body = [0, 1].map((index) => {
    return { op: "add", path: `/webhooks/${index}/clientConfig/caBundle`, value };
  });
  const contentType = "application/json-patch+json";
  await plane.call({ method: "PATCH", path: CONFIGURATION, body, contentType });
}

/** Creates a pool, or only asks whether it could be. */
async function create(object: object, dryRun = true, path = POOLS): Promise<Answer> {
  return plane.call({ method: "POST", path: path + (dryRun ? "?dryRun=All" : ""), body: object });
}

/** Serial number of the certificate that the webhook shows now. */
async function shownCertificate(): Promise<string> {
  const port = await operator.webhookPort();
  const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false });
  await once(socket, "secureConnect");
  const { serialNumber } = socket.getPeerCertificate();
  socket.destroy();
  return serialNumber;
}

const first = addressPool("first", ["192.0.2.0/25"]);
const overlapping = addressPool("second", ["192.0.2.100-192.0.2.200"]);
const good = addressPool("good", ["198.51.100.0/24"]);

describeWith("setpriv")("the validating webhook", () => {
  beforeAll(async () => {
    plane = await ControlPlane.up();
    admin = new Admin(plane);
    await installOperator(plane);
    await admin.apply("addresspools", first);
    await start({ WEBHOOK_CERTIFICATE_SECONDS: String(LIFETIME_SECONDS) });
  }, UP_TIMEOUT_MS);

  afterAll(async () => {
    await operator.end();
    await plane[Symbol.asyncDispose]();
  }, TEST_TIMEOUT_MS);

  beforeEach(async () => {
    await admin.delete("addresspools", "second");
  });

  const check = (name: string, body: () => Promise<void>, timeoutMs = TEST_TIMEOUT_MS): void => {
    test(name, body, timeoutMs);
  };

  check("refuses a pool that overlaps another, and says which and what to do", async () => {
    const { status, body } = await create(overlapping, false);
    const { message } = body as { message: string };
    expect(status).toBe(422);
    expect(message).toContain('admission webhook "addresspools.metallb.io" denied the request');
    expect(message).toMatch(/spec.addresses: .* overlaps 192.0.2.0\/25 of AddressPool first/);
    expect(await admin.has("addresspools", "second")).toBe(false);
  });

  check("refuses it in the older version too", async () => {
    const path = POOLS.replace("v1beta1", "v1alpha1");
    const object = { ...overlapping, apiVersion: "metallb.io/v1alpha1" };
    expect((await create(object, true, path)).status).toBe(422);
  });

  check("refuses a change that would make it overlap, and lets any other through", async () => {
    await admin.apply("addresspools", addressPool("second", ["203.0.113.0/24"]));
    await expect(admin.apply("addresspools", overlapping)).rejects.toThrow(/overlaps/);
    await admin.apply("addresspools", addressPool("second", ["203.0.113.0/25"]));
    await admin.patch("addresspools", "second", { metadata: { labels: { a: "b" } } });
  });

  check("refuses a MetalLB object whose expression nobody can read", async () => {
    const bad = metallb(withMetalLBSpec({ excludedInterfaces: ["[z-a]"] }));
    await expect(admin.apply("metallbs", bad)).rejects.toThrow(/spec.excludedInterfaces/);
  });

  check("warns of an object in the wrong namespace", async () => {
    const stray = { ...good, metadata: { name: "stray", namespace: "default" } };
    const { status, warnings } = await create(stray, true, POOLS.replace(NAMESPACE, "default"));
    expect(status).toBe(201);
    expect(warnings.join()).toContain("AddressPool objects count in namespace metallb-system only");
  });

  check("has its authority written again when somebody takes it away", async () => {
    await trust("");
    await eventually(async () => (await bundles()).every((bundle) => bundle !== ""));
    await eventually(async () => (await create(overlapping)).status === 422);
  });

  check(
    `answers every request while its certificate, which lives ${LIFETIME_SECONDS} s, is renewed twice`,
    async () => {
      const shown = new Set<string>();
      const wrong: string[] = [];
      let asked = 0;
      const ask = async (object: object, wanted: number): Promise<void> => {
        const { status, body } = await create(object);
        asked += 1;
        if (status !== wanted) wrong.push(`${status}: ${JSON.stringify(body)}`);
      };
      // A request that the webhook does not answer is let through: only a refusal proves an answer.
      const worker = async (): Promise<void> => {
        while (shown.size < 3) {
          await ask(overlapping, 422);
          await ask(good, 201);
        }
      };
      const watch = async (): Promise<void> => {
        await eventually(async () => shown.add(await shownCertificate()).size >= 3, {
          deadlineMs: 4 * LIFETIME_SECONDS * 1000,
        });
      };
      await Promise.all([watch(), worker(), worker()]);
      expect(wrong).toEqual([]);
      expect(asked).toBeGreaterThan(200);
      // What has expired is not kept for ever.
      const [bundle = ""] = await bundles();
      const authorities =
        Buffer.from(bundle, "base64")
          .toString()
          .match(/BEGIN CERT/g) ?? [];
      expect(authorities.length).toBeLessThanOrEqual(3);
    },
    6 * LIFETIME_SECONDS * 1000,
  );

  check("holds up nobody while the operator is away; the condition says it later", async () => {
    await operator.end();
    expect((await create(overlapping, false)).status).toBe(201);
    await start();
    await eventually(
      async () =>
        conditionOf(await admin.get("addresspools", "second"), "Valid")?.reason === "Overlapping",
    );
  });

  check(
    "uses a certificate that is mounted, reads a new one, and writes nothing then",
    async () => {
      await operator.end();
      const folder = mkdtempSync(join(tmpdir(), "webhook-"));
      const now = Date.now();
      const validity = { notBefore: new Date(now - DAY_MS), notAfter: new Date(now + DAY_MS) };
      const authority = issueCertificate({ commonName: "somebody's", ...validity, ca: true });
      const supply = (): KeyPair => {
        const dnsNames = [`metallb-operator-webhook-service.${NAMESPACE}.svc`];
        const made = issueCertificate({
          commonName: "w",
          dnsNames,
          ...validity,
          issuer: authority,
        });
        writeFileSync(join(folder, "tls.crt"), made.certificate);
        writeFileSync(join(folder, "tls.key"), made.key);
        return made;
      };
      try {
        supply();
        const bundle = Buffer.from(authority.certificate).toString("base64");
        await trust(bundle);
        await start({ WEBHOOK_CERTIFICATE_DIRECTORY: folder });
        expect((await bundles()).every((each) => each === bundle)).toBe(true);
        const before = await shownCertificate();
        supply();
        await eventually(async () => (await shownCertificate()) !== before, { deadlineMs: 60_000 });
        expect((await create(overlapping)).status).toBe(422);
        expect((await bundles()).every((each) => each === bundle)).toBe(true);
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );

  check("used all rights of config/certificate, and asked for nothing it may not do", async () => {
    const events = await plane.auditEvents();
    const own = events.filter(({ user }) => user.username.endsWith(":metallb-operator"));
    expect(refusals(own)).toEqual([]);
    expect(rightsUnused(rightsGranted("config/certificate/rights.yaml"), own)).toEqual([]);
  });
});
