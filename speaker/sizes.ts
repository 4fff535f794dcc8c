/**
 * How many octets a message takes on the wire, without writing it: packets are filled by these
 * numbers. `codec.ts` writes exactly so many; a test holds the two together.
 */
import type { Claim } from "./claims.ts";
import type { Message, Welcome } from "./messages.ts";
import type { MemberRecord } from "./roster.ts";

const HEADER = 3;
const BEAT = 4 + 4 + 4 + 1 + 4 + 2 + 4 + 3 * 8 + 4 * 8;
const utf8 = new TextEncoder();

function textSize(text: string): number {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 0x7f) return 1 + utf8.encode(text).length;
  }
  return 1 + text.length;
}

function addressSize(address: string): number {
  return address.includes(":") ? 17 : 5;
}

/** Gives the octets of a member's record. */
export function sizeOfRecord(record: MemberRecord): number {
  let size = textSize(record.name) + 4 + 16 + 4 + 4 + 1 + 4 + 3 + record.keyIds.length * 4;
  for (const endpoint of record.endpoints) size += addressSize(endpoint.address) + 2;
  for (const link of record.links) {
    size += textSize(link.name) + 6 + 1;
    for (const prefix of link.prefixes) size += textSize(prefix);
  }
  return size;
}

/** Gives the octets of a claim within the group of its life. */
export function sizeOfClaim(claim: Claim): number {
  return claim.address.includes(":") ? 24 : 12;
}

/** Gives the octets of a Pull with so many buckets, its header included. */
export function sizeOfPull(buckets: number): number {
  return HEADER + 8 + 1 + buckets * 8;
}

/** Octets that open a group of claims of one life. */
export const CLAIM_GROUP_SIZE = 18;

function sizeOfClaims(claims: readonly Claim[]): number {
  let size = 1;
  let life: string | undefined;
  let wide = false;
  for (const claim of claims) {
    const isWide = claim.address.includes(":");
    if (claim.life !== life || isWide !== wide) size += CLAIM_GROUP_SIZE;
    ({ life } = claim);
    wide = isWide;
    size += sizeOfClaim(claim);
  }
  return size;
}

function sizeOfWelcome(welcome: Welcome): number {
  let size = sizeOfRecord(welcome.self) + 4 + 1 + 1;
  if (welcome.active !== undefined) size += sizeOfRecord(welcome.active);
  for (const record of welcome.joiners) size += sizeOfRecord(record);
  return size;
}

function sizeOfBody(message: Message): number {
  switch (message.type) {
    case "beat":
    case "ping":
    case "pong":
      return BEAT;
    case "hello":
    case "response":
      return 8 + sizeOfWelcome(message.welcome);
    case "challenge":
      return 16 + sizeOfWelcome(message.welcome);
    case "ask":
      return textSize(message.subject) + 8;
    case "evidence":
      return textSize(message.subject) + 8 + 1 + 4;
    case "ping-for":
      return textSize(message.subject);
    case "ping-result":
      return textSize(message.subject) + 1 + 4;
    case "members":
      return message.records.reduce((size, record) => size + sizeOfRecord(record), 1);
    case "claims":
      return sizeOfClaims(message.claims);
    case "query":
      return message.addresses.reduce((size, address) => size + addressSize(address), 2);
    case "reply":
      return message.answers.reduce((size, { address }) => size + addressSize(address) + 1, 2);
    case "summary":
      return 16 + 2 + message.entries.length * 16;
    case "pull":
      return sizeOfPull(message.buckets.length) - HEADER;
    case "page":
      return sizeOfRecord(message.record) + sizeOfClaims(message.claims);
    case "contest":
      return addressSize(message.address) + 1 + 32;
    case "unanswered":
      return addressSize(message.address);
    case "start":
      return 0;
  }
}

/** Gives the octets of a message, its own header included. */
export function sizeOf(message: Message): number {
  return HEADER + sizeOfBody(message);
}
