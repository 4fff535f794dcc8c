import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { createServer, request } from "node:https";
import type { AddressInfo } from "node:net";
import { expiry, issueCertificate } from "../../../kubernetes/certificate.ts";

const notBefore = new Date("2026-01-01T00:00:00Z");
const notAfter = new Date("2126-01-01T00:00:00Z");
const validity = { notBefore, notAfter };

test("a CA signs a server certificate that says what was asked", () => {
  const ca = issueCertificate({ commonName: "our ca", ca: true, ...validity });
  const leaf = issueCertificate({
    commonName: "webhook",
    dnsNames: ["webhook.metallb-system.svc", "localhost"],
    ipAddresses: ["127.0.0.1", "fd00:96::1"],
    issuer: ca,
    ...validity,
  });
  const parsed = new X509Certificate(leaf.certificate);
  const authority = new X509Certificate(ca.certificate);
  expect(authority.ca).toBe(true);
  expect(parsed.ca).toBe(false);
  expect(parsed.checkIssued(authority)).toBe(true);
  expect(parsed.verify(authority.publicKey)).toBe(true);
  expect(parsed.checkPrivateKey(createPrivateKey(leaf.key))).toBe(true);
  expect(parsed.checkHost("webhook.metallb-system.svc")).toBeDefined();
  expect(parsed.checkIP("127.0.0.1")).toBe("127.0.0.1");
  expect(parsed.subjectAltName).toContain("IP Address:FD00:96:0:0:0:0:0:1");
  expect(parsed.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]);
  expect([parsed.validFromDate, expiry(leaf.certificate)]).toEqual([notBefore, notAfter]);
});

test("addresses of both families come back as they went in", () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (address) => {
      const { certificate } = issueCertificate({
        commonName: "x",
        ipAddresses: [address],
        ...validity,
      });
      expect(new X509Certificate(certificate).checkIP(address)).toBeDefined();
    }),
    { numRuns: 30 },
  );
});

test("names of any length and script are carried", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 }), (commonName) => {
      const { certificate } = issueCertificate({ commonName, ca: true, ...validity });
      const parsed = new X509Certificate(certificate);
      expect(parsed.verify(parsed.publicKey)).toBe(true);
    }),
    { numRuns: 30 },
  );
});

test("refuses what is no address", () => {
  expect(() => issueCertificate({ commonName: "x", ipAddresses: ["web"], ...validity })).toThrow(
    TypeError,
  );
});

test("a TLS client that trusts the CA trusts the server", async () => {
  const now = Date.now();
  const soon = { notBefore: new Date(now - 60_000), notAfter: new Date(now + 60_000) };
  const ca = issueCertificate({ commonName: "ca", ca: true, ...soon });
  const { certificate, key } = issueCertificate({
    commonName: "s",
    ipAddresses: ["127.0.0.1"],
    issuer: ca,
    ...soon,
  });
  const server = createServer({ cert: certificate, key }, (_request, response) =>
    response.end("hello"),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const status = await new Promise((resolve, reject) => {
    request({ host: "127.0.0.1", port, ca: ca.certificate, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on("error", reject)
      .end();
  });
  expect(status).toBe(200);
  server.closeAllConnections();
  server.close();
});
