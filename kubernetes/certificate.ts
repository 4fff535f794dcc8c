/**
 * X.509 certificates without openssl: a CA of our own and what it signs, on the curve P-256. For the
 * metrics endpoint and for webhooks whose certificate nobody supplies.
 *
 * @see RFC 5280 §4.1 (the structure), §4.2.1 (the extensions), RFC 5758 §3.2 (ecdsa-with-SHA256)
 */
import {
  createHash,
  createPrivateKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  X509Certificate,
  type KeyObject,
} from "node:crypto";
import { isIPv4, isIPv6 } from "node:net";

/** A certificate and its private key, both PEM. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

/** What a certificate says. */
export interface CertificateOptions {
  readonly commonName: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** True: it may sign others, and nothing else. */
  readonly ca?: boolean;
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
  /** Who signs; itself without it. */
  readonly issuer?: KeyPair;
}

/** Makes a key and a certificate for it. */
export function issueCertificate(options: CertificateOptions): KeyPair {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = publicKey.export({ type: "spki", format: "der" });
  const signer = options.issuer ? createPrivateKey(options.issuer.key) : privateKey;
  const issuerName = options.issuer
    ? subjectOf(options.issuer.certificate)
    : name(options.commonName);
  const toBeSigned = sequence(
    explicit(0, integer(Buffer.from([2]))),
    integer(randomBytes(16)),
    ECDSA_WITH_SHA256,
    issuerName,
    sequence(time(options.notBefore), time(options.notAfter)),
    name(options.commonName),
    spki,
    explicit(3, sequence(...extensions(options, spki))),
  );
  const der = sequence(toBeSigned, ECDSA_WITH_SHA256, bitString(signature(toBeSigned, signer)));
  return {
    certificate: pem("CERTIFICATE", der),
    key: pem("PRIVATE KEY", privateKey.export({ type: "pkcs8", format: "der" })),
  };
}

/** When a PEM certificate ends. */
export function expiry(certificate: string): Date {
  return new X509Certificate(certificate).validToDate;
}

function signature(octets: Buffer, key: KeyObject): Buffer {
  return sign("sha256", octets, { key, dsaEncoding: "der" });
}

function extensions(options: CertificateOptions, spki: Buffer): Buffer[] {
  const keyId = createHash("sha1").update(spki).digest();
  const alternatives = [
    ...(options.dnsNames ?? []).map((dns) => tagged(0x82, Buffer.from(dns, "ascii"))),
    ...(options.ipAddresses ?? []).map((address) => tagged(0x87, addressOctets(address))),
  ];
  return [
    // Basic constraints and key usage are critical, as RFC 5280 §4.2.1.9 and §4.2.1.3 have it.
    extension(
      "2.5.29.19",
      sequence(...(options.ca ? [tagged(0x01, Buffer.from([0xff]))] : [])),
      true,
    ),
    // keyCertSign and cRLSign for a CA, else digitalSignature.
    extension("2.5.29.15", tagged(0x03, Buffer.from(options.ca ? [1, 0x06] : [7, 0x80])), true),
    extension("2.5.29.14", tagged(0x04, keyId)),
    ...(options.ca ? [] : [extension("2.5.29.37", sequence(oid("1.3.6.1.5.5.7.3.1")))]),
    ...(alternatives.length > 0 ? [extension("2.5.29.17", sequence(...alternatives))] : []),
  ];
}

function extension(id: string, value: Buffer, critical = false): Buffer {
  const flag = critical ? [tagged(0x01, Buffer.from([0xff]))] : [];
  return sequence(oid(id), ...flag, tagged(0x04, value));
}

/** The encoded subject of a certificate, for the issuer field of another. */
function subjectOf(certificate: string): Buffer {
  // Our CAs have a common name and nothing else.
  const { subject } = new X509Certificate(certificate);
  const common = /^CN=(.*)$/m.exec(subject)?.[1];
  if (common === undefined)
    throw new TypeError(`issuer ${JSON.stringify(subject)} has no common name`);
  return name(common);
}

function name(commonName: string): Buffer {
  return sequence(
    tagged(0x31, sequence(oid("2.5.4.3"), tagged(0x0c, Buffer.from(commonName, "utf8")))),
  );
}

/** UTCTime until 2049, GeneralizedTime from 2050 on: RFC 5280 §4.1.2.5. */
function time(date: Date): Buffer {
  const digits = date.toISOString().replace(/[-:T]|\..*$/g, "");
  return date.getUTCFullYear() < 2050
    ? tagged(0x17, Buffer.from(`${digits.slice(2)}Z`, "ascii"))
    : tagged(0x18, Buffer.from(`${digits}Z`, "ascii"));
}

function addressOctets(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split(".").map(Number));
  if (!isIPv6(address)) throw new TypeError(`${JSON.stringify(address)} is no IP address`);
  // The URL parser gives the compressed form with IPv4 tails already turned into groups.
  const [head = "", tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::");
  const groups = (text: string): string[] => text.split(":").filter((group) => group !== "");
  const before = groups(head);
  const after = groups(tail ?? "");
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => "0");
  return Buffer.from(
    [...before, ...zeros, ...after].map((group) => group.padStart(4, "0")).join(""),
    "hex",
  );
}

function tagged(tag: number, content: Buffer): Buffer {
  return Buffer.concat([Buffer.from([tag]), length(content.length), content]);
}

function length(octets: number): Buffer {
  if (octets < 0x80) return Buffer.from([octets]);
  const digits = octets < 0x100 ? [octets] : [octets >> 8, octets & 0xff];
  return Buffer.from([0x80 | digits.length, ...digits]);
}

function sequence(...items: readonly Buffer[]): Buffer {
  return tagged(0x30, Buffer.concat(items));
}

function explicit(number: number, content: Buffer): Buffer {
  return tagged(0xa0 | number, content);
}

/** A positive integer: the sign bit must be clear, leading zeros must not be. */
function integer(octets: Buffer): Buffer {
  const first = octets.findIndex((octet) => octet !== 0);
  const minimal = first < 0 ? Buffer.from([0]) : octets.subarray(first);
  const signed =
    ((minimal[0] ?? 0) & 0x80) === 0 ? minimal : Buffer.concat([Buffer.from([0]), minimal]);
  return tagged(0x02, signed);
}

function bitString(octets: Buffer): Buffer {
  return tagged(0x03, Buffer.concat([Buffer.from([0]), octets]));
}

function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const octets = [first * 40 + second];
  for (const arc of rest) {
    const digits = [arc & 0x7f];
    for (let left = arc >> 7; left > 0; left >>= 7) digits.unshift(0x80 | (left & 0x7f));
    octets.push(...digits);
  }
  return tagged(0x06, Buffer.from(octets));
}

function pem(label: string, der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}

const ECDSA_WITH_SHA256 = sequence(oid("1.2.840.10045.4.3.2"));
