/**
 * Messages in octets. A payload is a row of messages, each a type octet, a length of two octets, and
 * a body; numbers are big-endian. Decoding is total: hostile octets give a refusal, never an
 * exception, and no loop runs longer than there are octets. Types that are not known are skipped,
 * so that a later version may say more.
 */
import { decodeAddress, encodeAddress, type Address } from "../packet/address/address.ts";
import { decodeMac, encodeMac, type MacAddress } from "../packet/address/mac.ts";
import { MALFORMED, TRUNCATED, type Decoded, type Refusal } from "../packet/wire/decode.ts";
import { makeClaim, MAX_TERM, type Claim } from "./claims.ts";
import type { Digest } from "./digest.ts";
import type { Beat, Message, Standing, Versions, Welcome } from "./messages.ts";
import { MEMBER_STATUSES, PLIGHTS, type Endpoint, type Link, type MemberRecord } from "./roster.ts";
import { sizeOf } from "./sizes.ts";

const TYPES = [
  "hello",
  "challenge",
  "response",
  "beat",
  "ping",
  "pong",
  "ask",
  "evidence",
  "ping-for",
  "ping-result",
  "members",
  "claims",
  "query",
  "reply",
  "summary",
  "pull",
  "page",
  "contest",
  "start",
  "unanswered",
] as const satisfies readonly Message["type"][];

const STANDINGS = ["unknown", "alive", "dead"] as const satisfies readonly Standing[];
const FINDINGS = ["heard", "dead", "unknown", "answering"] as const;
const FAMILY_4 = 4;
const FAMILY_6 = 6;
/** A record with a name of one octet and nothing else. */
const SHORTEST_RECORD = 38;
const WIDE = 0x8000;
const FIRM = 0x80000000;
const GIVING = 0x40000000;
const RELEASED = 0x20000000;

const toUtf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();

/** Thrown and caught within this file only: a body that ends too early or breaks a rule. */
class Bad extends Error {
  readonly refusal: Refusal;
  constructor(refusal: Refusal) {
    super(refusal.reason);
    this.refusal = refusal;
  }
}

/** Writes into octets that were measured beforehand. */
class Writer {
  readonly octets: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  #at = 0;

  constructor(size: number) {
    this.octets = new Uint8Array(size);
    this.#view = new DataView(this.octets.buffer);
  }

  u8(value: number): void {
    this.#view.setUint8(this.#at, value);
    this.#at += 1;
  }

  u16(value: number): void {
    this.#view.setUint16(this.#at, value);
    this.#at += 2;
  }

  u32(value: number): void {
    this.#view.setUint32(this.#at, value);
    this.#at += 4;
  }

  u64(value: bigint): void {
    this.#view.setBigUint64(this.#at, value);
    this.#at += 8;
  }

  raw(octets: Uint8Array): void {
    this.octets.set(octets, this.#at);
    this.#at += octets.length;
  }

  hex(text: string): void {
    this.raw(Buffer.from(text, "hex"));
  }

  text(text: string): void {
    const octets = toUtf8.encode(text);
    if (octets.length > 255) throw new RangeError(`"${text}" takes more than 255 octets`);
    this.u8(octets.length);
    this.raw(octets);
  }

  digest(digest: Digest): void {
    this.u32(digest.high);
    this.u32(digest.low);
  }

  address(address: Address): void {
    const octets = encodeAddress(address);
    this.u8(octets.length === 4 ? FAMILY_4 : FAMILY_6);
    this.raw(octets);
  }
}

/** Reads octets; what is not there is refused. */
class Reader {
  readonly #octets: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(octets: Uint8Array) {
    this.#octets = octets;
    this.#view = new DataView(octets.buffer, octets.byteOffset, octets.byteLength);
  }

  get left(): number {
    return this.#octets.length - this.#at;
  }

  #advance(length: number): number {
    if (this.left < length) throw new Bad(TRUNCATED);
    const at = this.#at;
    this.#at += length;
    return at;
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#advance(2));
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4));
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#advance(8));
  }

  raw(length: number): Uint8Array {
    const at = this.#advance(length);
    return this.#octets.subarray(at, at + length);
  }

  hex(length: number): string {
    return Buffer.from(this.raw(length)).toString("hex");
  }

  text(): string {
    const text = fromUtf8.decode(this.raw(this.u8()));
    if (text.includes("\ufffd")) throw new Bad(MALFORMED);
    return text;
  }

  digest(): Digest {
    return { high: this.u32(), low: this.u32() };
  }

  address(): Address {
    const family = this.u8();
    if (family !== FAMILY_4 && family !== FAMILY_6) throw new Bad(MALFORMED);
    return decodeAddress(this.raw(family === FAMILY_4 ? 4 : 16));
  }

  flag(): boolean {
    const value = this.u8();
    if (value > 1) throw new Bad(MALFORMED);
    return value === 1;
  }

  /** Reads so many of something; a count that cannot fit is refused before anything is read. */
  list<T>(count: number, size: number, read: () => T): T[] {
    if (count * size > this.left) throw new Bad(TRUNCATED);
    return Array.from({ length: count }, read);
  }

  of<T>(from: readonly T[], index: number): T {
    const value = from[index];
    if (value === undefined) throw new Bad(MALFORMED);
    return value;
  }
}

/**
 * Writes messages as one payload. Inverse of {@link decodeMessages}.
 * @throws RangeError when a text takes more than 255 octets.
 */
export function encodeMessages(messages: readonly Message[]): Uint8Array<ArrayBuffer> {
  const sizes = messages.map(sizeOf);
  const writer = new Writer(sizes.reduce((sum, size) => sum + size, 0));
  for (const [i, message] of messages.entries()) {
    writer.u8(TYPES.indexOf(message.type) + 1);
    writer.u16((sizes[i] ?? 0) - 3);
    writeBody(writer, message);
  }
  return writer.octets;
}

/**
 * Reads the messages of a payload. Nothing in the result aliases the octets.
 * @returns `truncated` when a message ends too early, `malformed` when it breaks a rule or has
 * octets to spare.
 */
export function decodeMessages(payload: Uint8Array): Decoded<Message[]> {
  const reader = new Reader(payload);
  const messages: Message[] = [];
  try {
    while (reader.left > 0) {
      const type = TYPES[reader.u8() - 1];
      const body = new Reader(reader.raw(reader.u16()));
      if (type === undefined) continue;
      messages.push(readBody(body, type));
      if (body.left > 0) return MALFORMED;
    }
  } catch (error) {
    // Our own refusal; anything else is a bug of this file and is not hidden.
    if (error instanceof Bad) return error.refusal;
    throw error;
  }
  return { ok: true, value: messages };
}

function writeBody(writer: Writer, message: Message): void {
  switch (message.type) {
    case "beat":
    case "ping":
    case "pong":
      writeBeat(writer, message);
      return;
    case "hello":
      writer.u64(BigInt(message.nonce));
      writeWelcome(writer, message.welcome);
      return;
    case "challenge":
      writer.u64(BigInt(message.echo));
      writer.u64(BigInt(message.nonce));
      writeWelcome(writer, message.welcome);
      return;
    case "response":
      writer.u64(BigInt(message.echo));
      writeWelcome(writer, message.welcome);
      return;
    case "ask":
      writer.text(message.subject);
      writer.u32(message.epoch);
      writer.u32(message.refutation);
      return;
    case "evidence":
      writer.text(message.subject);
      writer.u32(message.epoch);
      writer.u32(message.refutation);
      writer.u8(FINDINGS.indexOf(message.finding));
      writer.u32(message.ageMs);
      return;
    case "ping-for":
      writer.text(message.subject);
      return;
    case "ping-result":
      writer.text(message.subject);
      writer.u8(Number(message.heard));
      writer.u32(message.ageMs);
      return;
    case "members":
      writer.u8(message.records.length);
      for (const record of message.records) writeRecord(writer, record);
      return;
    case "claims":
      writeClaims(writer, message.claims);
      return;
    case "query":
      writer.u16(message.addresses.length);
      for (const address of message.addresses) writer.address(address);
      return;
    case "reply":
      writer.u16(message.answers.length);
      for (const { address, mine } of message.answers) {
        writer.address(address);
        writer.u8(Number(mine));
      }
      return;
    case "summary":
      writer.hex(message.from);
      writer.hex(message.to);
      writer.u8(Number(message.answer));
      writer.u8(message.entries.length);
      for (const { id, digest } of message.entries) {
        writer.hex(id);
        writer.digest(digest);
      }
      return;
    case "pull":
      writer.hex(message.id);
      writer.u8(message.buckets.length);
      for (const bucket of message.buckets) writer.digest(bucket);
      return;
    case "page":
      writeRecord(writer, message.record);
      writeClaims(writer, message.claims);
      return;
    case "contest":
      writer.address(message.address);
      writer.u8(Number(message.absent));
      for (const version of message.versions) writer.u64(version);
      return;
    case "unanswered":
      writer.address(message.address);
      return;
    case "start":
      return;
  }
}

function readBody(reader: Reader, type: Message["type"]): Message {
  switch (type) {
    case "beat":
    case "ping":
    case "pong":
      return readBeat(reader, type);
    case "hello":
      return { type, nonce: readNonce(reader), welcome: readWelcome(reader) };
    case "challenge":
      return {
        type,
        echo: readNonce(reader),
        nonce: readNonce(reader),
        welcome: readWelcome(reader),
      };
    case "response":
      return { type, echo: readNonce(reader), welcome: readWelcome(reader) };
    case "ask":
      return { type, subject: reader.text(), epoch: reader.u32(), refutation: reader.u32() };
    case "evidence":
      return {
        type,
        subject: reader.text(),
        epoch: reader.u32(),
        refutation: reader.u32(),
        finding: reader.of(FINDINGS, reader.u8()),
        ageMs: reader.u32(),
      };
    case "ping-for":
      return { type, subject: reader.text() };
    case "ping-result":
      return { type, subject: reader.text(), heard: reader.flag(), ageMs: reader.u32() };
    case "members":
      return { type, records: reader.list(reader.u8(), SHORTEST_RECORD, () => readRecord(reader)) };
    case "claims":
      return { type, claims: readClaims(reader) };
    case "query":
      return { type, addresses: reader.list(reader.u16(), 5, () => reader.address()) };
    case "reply": {
      const read = () => ({ address: reader.address(), mine: reader.flag() });
      return { type, answers: reader.list(reader.u16(), 6, read) };
    }
    case "summary":
      return {
        type,
        from: reader.hex(8),
        to: reader.hex(8),
        answer: reader.flag(),
        entries: reader.list(reader.u8(), 16, () => ({
          id: reader.hex(8),
          digest: reader.digest(),
        })),
      };
    case "pull":
      return {
        type,
        id: reader.hex(8),
        buckets: reader.list(reader.u8(), 8, () => reader.digest()),
      };
    case "page":
      return { type, record: readRecord(reader), claims: readClaims(reader) };
    case "contest":
      return {
        type,
        address: reader.address(),
        absent: reader.flag(),
        versions: readVersions(reader),
      };
    case "unanswered":
      return { type, address: reader.address() };
    case "start":
      return { type };
  }
}

function writeBeat(writer: Writer, beat: Beat): void {
  writer.u32(beat.epoch);
  writer.u32(beat.refutation);
  writer.u32(beat.sequence);
  const standing = STANDINGS.indexOf(beat.standing);
  writer.u8(standing | (beat.unheard ? 4 : 0) | (beat.joining ? 8 : 0) | (beat.guest ? 16 : 0));
  writer.u32(beat.ack);
  writer.u16(Math.min(0xffff, Math.round(10 * beat.ackAgeMs)));
  writer.u32(beat.standingRefutation);
  writer.digest(beat.own);
  writer.digest(beat.table);
  writer.digest(beat.members);
  for (const version of beat.versions) writer.u64(version);
}

function readBeat(reader: Reader, type: Beat["type"]): Beat {
  const [epoch, refutation, sequence] = [reader.u32(), reader.u32(), reader.u32()];
  const flags = reader.u8();
  return {
    type,
    epoch,
    refutation,
    sequence,
    unheard: (flags & 4) !== 0,
    joining: (flags & 8) !== 0,
    guest: (flags & 16) !== 0,
    ack: reader.u32(),
    ackAgeMs: reader.u16() / 10,
    standing: reader.of(STANDINGS, flags & 3),
    standingRefutation: reader.u32(),
    own: reader.digest(),
    table: reader.digest(),
    members: reader.digest(),
    versions: readVersions(reader),
  };
}

function readVersions(reader: Reader): Versions {
  return [reader.u64(), reader.u64(), reader.u64(), reader.u64()];
}

function readNonce(reader: Reader): number {
  const nonce = reader.u64();
  if (nonce > BigInt(Number.MAX_SAFE_INTEGER)) throw new Bad(MALFORMED);
  return Number(nonce);
}

function writeWelcome(writer: Writer, welcome: Welcome): void {
  writeRecord(writer, welcome.self);
  writer.u32(welcome.epochForYou);
  writer.u8(Number(welcome.active !== undefined));
  if (welcome.active !== undefined) writeRecord(writer, welcome.active);
  writer.u8(welcome.joiners.length);
  for (const record of welcome.joiners) writeRecord(writer, record);
}

function readWelcome(reader: Reader): Welcome {
  return {
    self: readRecord(reader),
    epochForYou: reader.u32(),
    active: reader.flag() ? readRecord(reader) : undefined,
    joiners: reader.list(reader.u8(), SHORTEST_RECORD, () => readRecord(reader)),
  };
}

function writeRecord(writer: Writer, record: MemberRecord): void {
  writer.text(record.name);
  writer.u32(record.epoch);
  writer.hex(record.life);
  writer.u32(record.refutation);
  writer.u32(record.revision);
  const status = MEMBER_STATUSES.indexOf(record.status);
  const flags = (record.dead ? 4 : 0) | (record.deaf ? 8 : 0) | (record.rebalancing ? 16 : 0);
  const plight = record.plight === undefined ? 0 : PLIGHTS.indexOf(record.plight) + 1;
  writer.u8(status | flags | (plight << 5));
  writer.u32(record.humbled ?? 0);
  writer.u8(record.endpoints.length);
  writer.u8(record.links.length);
  writer.u8(record.keyIds.length);
  for (const { address, port } of record.endpoints) {
    writer.address(address);
    writer.u16(port);
  }
  for (const link of record.links) writeLink(writer, link);
  for (const keyId of record.keyIds) writer.u32(keyId);
}

function writeLink(writer: Writer, link: Link): void {
  writer.text(link.name);
  writer.raw(encodeMac(link.mac));
  writer.u8(link.prefixes.length);
  for (const prefix of link.prefixes) writer.text(prefix);
}

function readRecord(reader: Reader): MemberRecord {
  const name = reader.text();
  if (name === "") throw new Bad(MALFORMED);
  const [epoch, life] = [reader.u32(), reader.hex(16)];
  const [refutation, revision, flags] = [reader.u32(), reader.u32(), reader.u8()];
  const plight = PLIGHTS[(flags >> 5) - 1];
  const humbled = reader.u32();
  const [endpoints, links, keyIds] = [reader.u8(), reader.u8(), reader.u8()];
  return {
    name,
    epoch,
    life,
    refutation,
    dead: (flags & 4) !== 0,
    revision,
    status: reader.of(MEMBER_STATUSES, flags & 3),
    deaf: (flags & 8) !== 0,
    rebalancing: (flags & 16) !== 0,
    ...(humbled > 0 && { humbled }),
    // one of a later version, unknown here, is none
    ...(plight !== undefined && { plight }),
    endpoints: reader.list(endpoints, 7, () => readEndpoint(reader)),
    links: reader.list(links, 8, () => readLink(reader)),
    keyIds: reader.list(keyIds, 4, () => reader.u32()),
  };
}

function readEndpoint(reader: Reader): Endpoint {
  return { address: reader.address(), port: reader.u16() };
}

function readLink(reader: Reader): Link {
  const name = reader.text();
  const mac: MacAddress = decodeMac(reader.raw(6));
  return { name, mac, prefixes: reader.list(reader.u8(), 1, () => reader.text()) };
}

/** Claims stand in groups of one life and one family, so that the life is written once. */
function writeClaims(writer: Writer, claims: readonly Claim[]): void {
  const groups: Claim[][] = [];
  for (const claim of claims) {
    const group = groups.at(-1);
    const [first] = group ?? [];
    if (group !== undefined && first?.life === claim.life && isWide(first) === isWide(claim)) {
      group.push(claim);
    } else groups.push([claim]);
  }
  writer.u8(groups.length);
  for (const group of groups) writeGroup(writer, group);
}

function writeGroup(writer: Writer, group: readonly Claim[]): void {
  const [first] = group;
  if (first === undefined) return;
  writer.hex(first.life);
  writer.u16(group.length | (isWide(first) ? WIDE : 0));
  for (const claim of group) {
    writer.raw(encodeAddress(claim.address));
    writer.u32(claim.version);
    const flags =
      (claim.firm ? FIRM : 0) + (claim.giving ? GIVING : 0) + (claim.released ? RELEASED : 0);
    writer.u32(Math.min(claim.term, MAX_TERM) + flags);
  }
}

function isWide(claim: Claim): boolean {
  return claim.address.includes(":");
}

function readClaims(reader: Reader): Claim[] {
  return reader.list(reader.u8(), 18, () => readGroup(reader)).flat();
}

function readGroup(reader: Reader): Claim[] {
  const life = reader.hex(16);
  const count = reader.u16();
  const length = (count & WIDE) === 0 ? 4 : 16;
  return reader.list(count & ~WIDE, length + 8, () => {
    const address = decodeAddress(reader.raw(length));
    const version = reader.u32();
    const word = reader.u32();
    return makeClaim({
      address,
      life,
      version,
      term: word & MAX_TERM,
      firm: (word & FIRM) !== 0,
      giving: (word & GIVING) !== 0,
      released: (word & RELEASED) !== 0,
    });
  });
}
