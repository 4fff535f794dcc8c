/** Random messages of every type, for properties. */
import fc from "fast-check";
import { decodeAddress, type Address } from "../../../packet/address/address.ts";
import { decodeMac } from "../../../packet/address/mac.ts";
import { makeClaim, MAX_TERM, type Claim } from "../../../speaker/claims.ts";
import type { Digest } from "../../../speaker/digest.ts";
import type { Beat, Message, Versions, Welcome } from "../../../speaker/messages.ts";
import { PLIGHTS, type Endpoint, type Link, type MemberRecord } from "../../../speaker/roster.ts";

const u8 = fc.integer({ min: 0, max: 0xff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const octets = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const hex = (length: number) => octets(length).map((value) => Buffer.from(value).toString("hex"));
const name = fc.stringMatching(/^[a-z0-9.-]{1,63}$/);

export const address: fc.Arbitrary<Address> = fc
  .oneof(octets(4), octets(16))
  .map((value) => decodeAddress(value));
export const life = hex(16);
const digest: fc.Arbitrary<Digest> = fc.record({ high: u32, low: u32 }, { noNullPrototype: true });
const nonce = fc.integer({ min: 0, max: 2 ** 48 });
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const versions: fc.Arbitrary<Versions> = fc.tuple(u64, u64, u64, u64);

export const claim: fc.Arbitrary<Claim> = fc
  .record({
    address,
    life: fc.constantFrom("0a".repeat(16), "0b".repeat(16)),
    version: u32,
    term: fc.integer({ min: 0, max: MAX_TERM }),
    firm: fc.boolean(),
    giving: fc.boolean(),
    released: fc.boolean(),
  })
  .map((fields) => makeClaim(fields));

const endpoint: fc.Arbitrary<Endpoint> = fc.record(
  { address, port: fc.integer({ min: 0, max: 0xffff }) },
  { noNullPrototype: true },
);
const link: fc.Arbitrary<Link> = fc.record(
  {
    name: fc
      .string({ unit: "grapheme", minLength: 1, maxLength: 8 })
      .filter((text) => !text.includes("\ufffd")),
    mac: octets(6).map((value) => decodeMac(value)),
    prefixes: fc.array(fc.constantFrom("192.0.2.0/24", "2001:db8::/64"), { maxLength: 3 }),
  },
  { noNullPrototype: true },
);

const whole: fc.Arbitrary<MemberRecord> = fc.record(
  {
    name,
    epoch: u32,
    life,
    refutation: u32,
    dead: fc.boolean(),
    revision: u32,
    status: fc.constantFrom("joining", "active", "draining", "left"),
    deaf: fc.boolean(),
    rebalancing: fc.boolean(),
    endpoints: fc.array(endpoint, { maxLength: 3 }),
    links: fc.array(link, { maxLength: 3 }),
    keyIds: fc.array(u32, { maxLength: 3 }),
  },
  { noNullPrototype: true },
);

export const record: fc.Arbitrary<MemberRecord> = fc
  .tuple(
    whole,
    fc.constantFrom(undefined, ...PLIGHTS),
    fc.option(fc.integer({ min: 1, max: 2 ** 32 - 1 })),
  )
  .map(([fields, plight, humbled]) => ({
    ...fields,
    ...(plight !== undefined && { plight }),
    ...(humbled !== null && { humbled }),
  }));

const welcome: fc.Arbitrary<Welcome> = fc.record(
  {
    self: record,
    epochForYou: u32,
    active: fc.option(record, { nil: undefined }),
    joiners: fc.array(record, { maxLength: 3 }),
  },
  { noNullPrototype: true },
);

const beat: fc.Arbitrary<Beat> = fc.record(
  {
    type: fc.constantFrom("beat", "ping", "pong"),
    epoch: u32,
    refutation: u32,
    sequence: u32,
    unheard: fc.boolean(),
    joining: fc.boolean(),
    guest: fc.boolean(),
    ack: u32,
    ackAgeMs: fc.integer({ min: 0, max: 0xffff }).map((tenths) => tenths / 10),
    standing: fc.constantFrom("unknown", "alive", "dead"),
    standingRefutation: u32,
    own: digest,
    table: digest,
    members: digest,
    versions,
  },
  { noNullPrototype: true },
);

const of = <F>(type: Message["type"], fields: { [K in keyof F]: fc.Arbitrary<F[K]> }) =>
  fc.record(
    { type: fc.constant(type), ...fields },
    { noNullPrototype: true },
  ) as fc.Arbitrary<Message>;

const many = <T>(one: fc.Arbitrary<T>) => fc.array(one, { maxLength: 6 });

export const message: fc.Arbitrary<Message> = fc.oneof(
  of("hello", { nonce, welcome }),
  of("challenge", { echo: nonce, nonce, welcome }),
  of("response", { echo: nonce, welcome }),
  beat,
  of("ask", { subject: name, epoch: u32, refutation: u32 }),
  of("evidence", {
    subject: name,
    epoch: u32,
    refutation: u32,
    finding: fc.constantFrom("heard", "dead", "unknown", "answering"),
    ageMs: u32,
  }),
  of("ping-for", { subject: name }),
  of("ping-result", { subject: name, heard: fc.boolean(), ageMs: u32 }),
  of("members", { records: many(record) }),
  of("claims", { claims: many(claim) }),
  of("query", { addresses: many(address) }),
  of("reply", {
    answers: many(fc.record({ address, mine: fc.boolean() }, { noNullPrototype: true })),
  }),
  of("summary", {
    from: hex(8),
    to: hex(8),
    answer: fc.boolean(),
    entries: many(fc.record({ id: hex(8), digest }, { noNullPrototype: true })),
  }),
  of("pull", { id: hex(8), buckets: many(digest) }),
  of("page", { record, claims: many(claim) }),
  of("contest", { address, absent: fc.boolean(), versions }),
  of("start", {}),
  of("unanswered", { address }),
);

export { u8 };
