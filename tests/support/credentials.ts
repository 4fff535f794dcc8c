/** Keys and certificates of a control plane for tests, made anew for each. */
import { execFile } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

/** What the administrator needs: the authority, and a certificate of its own with its key. */
export interface Credentials {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

const OPENSSL_CONFIG = `
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = IP:127.0.0.1, IP:10.96.0.1, DNS:localhost, DNS:kubernetes.default.svc
`;

/**
 * Fills a folder with `ca`, `server` and `admin` (each .crt and .key) and `service-account` (.key
 * and .pub).
 * @returns the administrator's
 */
export async function makeCredentials(directory: string): Promise<Credentials> {
  const file = (name: string): string => join(directory, name);
  await writeFile(file("openssl.cnf"), OPENSSL_CONFIG);
  const keys = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "sec1", format: "pem" },
  });
  await writeFile(file("service-account.key"), keys.privateKey, { mode: 0o600 });
  await writeFile(file("service-account.pub"), keys.publicKey);
  const certify = async (name: string, subject: string, ...more: string[]): Promise<void> => {
    const options = ["-x509", "-config", "openssl.cnf", "-nodes", "-days", "30", "-subj", subject];
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", `${name}.key`];
    const all = ["req", ...options, ...key, "-out", `${name}.crt`, ...more];
    await promisify(execFile)("openssl", all, { cwd: directory });
  };
  await certify("ca", "/CN=test-ca", "-extensions", "ca");
  const byCa = ["-extensions", "leaf", "-CA", "ca.crt", "-CAkey", "ca.key"];
  await Promise.all([
    certify("server", "/CN=kube-apiserver", ...byCa),
    certify("admin", "/O=system:masters/CN=admin", ...byCa),
  ]);
  const [ca, cert, key] = await Promise.all(
    ["ca.crt", "admin.crt", "admin.key"].map(async (name) => readFile(file(name))),
  );
  return { ca: ca!, cert: cert!, key: key! };
}
