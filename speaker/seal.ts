/**
 * Datagrams between speakers: sealed with AES-256-GCM, so that only holders of the key can read or
 * write them, and only their receiver can open them.
 *
 *     magic 3 | version 1 | key id 4 | sender id 8 | life 16 | counter 8 | sealed payload | tag 16
 *
 * - The packet key is derived from the secret, the cluster, the sender and its life. A life is fresh
 *   at each start, so a counter from zero is a nonce that never comes twice, with nothing stored.
 * - The id of the receiver is authenticated but not sent: a datagram recorded on its way to one node
 *   is worthless to another.
 * - Whether a counter was seen is not decided here but where the packet is taken in (`replay.ts`).
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createSecretKey,
  hkdfSync,
  type KeyObject,
} from "node:crypto";
import { BoundedMap } from "./bounded-map.ts";
import type { Life } from "./claims.ts";
import { idOfName } from "./membership.ts";
import type { Sender } from "./messages.ts";

const MAGIC = Uint8Array.of(0x6d, 0x6c, 0x62);
const VERSION = 1;
const HEADER_LENGTH = 40;
const COUNTER = 32;
const ID_LENGTH = 8;
const TAG_LENGTH = 16;
const CIPHER = "aes-256-gcm";
/** Packet keys remembered; more than members there are, so that none is derived twice for long. */
const REMEMBERED = 8192;

/** Octets that sealing adds to a payload. */
export const SEAL_OVERHEAD = HEADER_LENGTH + TAG_LENGTH;
/** Shortest secret that is taken as a key. */
export const MIN_SECRET_LENGTH = 16;

/** A shared secret; its octets cannot be printed by accident. */
export interface Key {
  /** First octets of a hash of the secret: names it without telling it. */
  readonly id: number;
  readonly secret: KeyObject;
}

/** Why a datagram was dropped; each is a counter. */
export const OPEN_REASONS = ["truncated", "foreign", "version", "unknown-key", "bad-tag"] as const;

/** Why a datagram was not opened. */
export type OpenReason = (typeof OPEN_REASONS)[number];

/** A datagram that was opened. */
export interface Opened {
  readonly sender: Sender;
  readonly counter: number;
  readonly keyId: number;
  readonly payload: Uint8Array<ArrayBuffer>;
}

/** What opening gives. */
export type OpenResult =
  | { readonly ok: true; readonly value: Opened }
  | { readonly ok: false; readonly reason: OpenReason };

/**
 * Makes a key of a secret's octets.
 * @throws RangeError when there are fewer than sixteen; the message does not tell them.
 */
export function makeKey(secret: Uint8Array): Key {
  if (secret.length < MIN_SECRET_LENGTH) {
    throw new RangeError(
      `a key of ${secret.length} octets is too short: give at least ${MIN_SECRET_LENGTH} random octets`,
    );
  }
  const hash = createHash("sha256").update("speaker key id").update(secret).digest();
  return { id: hash.readUInt32BE(0), secret: createSecretKey(secret) };
}

interface OwnPart {
  readonly keyId: number;
  readonly packetKey: KeyObject;
  readonly authenticated: Uint8Array<ArrayBuffer>;
}

/** Who seals with which packet key. */
interface Source {
  readonly sender: Sender;
  readonly packetKey: KeyObject;
}

/** Seals and opens the datagrams of one speaker. */
export class Seal {
  readonly #cluster: string;
  readonly #self: Sender;
  /** Scratch: the header of what is opened, and one's own id. */
  readonly #authenticated = new Uint8Array(HEADER_LENGTH + ID_LENGTH);
  /** By key id, sender's id and life, as they stand in a datagram. */
  readonly #derived = new BoundedMap<string, Source>(REMEMBERED);
  /** Oldest first. */
  #keys: readonly Key[];
  #counter = 0n;
  #own: OwnPart | undefined;
  readonly #receivers = new BoundedMap<string, Uint8Array>(REMEMBERED);

  /** `cluster` keeps clusters with the same secret apart; `life` is fresh and random. */
  constructor(cluster: string, name: string, life: Life, keys: readonly Key[]) {
    this.#cluster = cluster;
    this.#self = { id: idOfName(name), life };
    this.#authenticated.set(Buffer.from(this.#self.id, "hex"), HEADER_LENGTH);
    this.#keys = keys;
  }

  /** Ids of the keys that are accepted, oldest first: what a speaker tells of itself. */
  get keyIds(): number[] {
    return this.#keys.map(({ id }) => id);
  }

  /** Accepts these keys from now on, oldest first. */
  rekey(keys: readonly Key[]): void {
    this.#keys = keys;
  }

  /**
   * Seals a payload for a member, with the newest key that it said it accepts; with the oldest if it
   * said nothing, since that is the one that everybody has while a key is being replaced.
   * @returns undefined when there is no key in common.
   */
  seal(payload: Uint8Array, receiver: string, accepted: readonly number[]): Uint8Array | undefined {
    const key =
      accepted.length === 0
        ? this.#keys[0]
        : this.#keys.findLast(({ id }) => accepted.includes(id));
    if (key === undefined) return undefined;
    const counter = this.#counter++;
    const { packetKey, authenticated } = this.#ownPart(key);
    // Header and receiver's id lie side by side, as they are authenticated.
    new DataView(authenticated.buffer).setBigUint64(COUNTER, counter);
    authenticated.set(this.#idOf(receiver), HEADER_LENGTH);
    const cipher = createCipheriv(CIPHER, packetKey, nonceOf(counter));
    cipher.setAAD(authenticated);
    const octets = new Uint8Array(SEAL_OVERHEAD + payload.length);
    octets.set(authenticated.subarray(0, HEADER_LENGTH));
    octets.set(cipher.update(payload), HEADER_LENGTH);
    cipher.final();
    octets.set(cipher.getAuthTag(), HEADER_LENGTH + payload.length);
    return octets;
  }

  /** What is the same in all datagrams of one's own under a key. */
  #ownPart(key: Key): OwnPart {
    if (this.#own?.keyId === key.id) return this.#own;
    const authenticated = new Uint8Array(HEADER_LENGTH + ID_LENGTH);
    writeHeader(authenticated, key.id, this.#self);
    const packetKey = derive(key, this.#cluster, this.#self);
    return (this.#own = { keyId: key.id, packetKey, authenticated });
  }

  #idOf(receiver: string): Uint8Array {
    const make = () => Uint8Array.from(Buffer.from(idOfName(receiver), "hex"));
    return this.#receivers.of(receiver, make);
  }

  /**
   * Opens a datagram that was sent to this speaker.
   * @returns reasons `truncated`; `foreign`: not this protocol; `version`; `unknown-key`; `bad-tag`:
   * another key, cluster, receiver, or a changed octet.
   */
  open(datagram: Uint8Array): OpenResult {
    if (datagram.length < SEAL_OVERHEAD) return { ok: false, reason: "truncated" };
    if (!MAGIC.every((octet, i) => datagram[i] === octet)) return { ok: false, reason: "foreign" };
    if (datagram[3] !== VERSION) return { ok: false, reason: "version" };
    const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
    const keyId = view.getUint32(4);
    const key = this.#keys.find(({ id }) => id === keyId);
    if (key === undefined) return { ok: false, reason: "unknown-key" };
    const counter = view.getBigUint64(COUNTER);
    if (counter > BigInt(Number.MAX_SAFE_INTEGER)) return { ok: false, reason: "bad-tag" };
    const name = hexOf(datagram, 4, COUNTER);
    const source = this.#derived.get(name) ?? this.#sourceOf(key, name);
    const payload = this.#decrypt(datagram, source.packetKey, counter);
    if (payload === undefined) return { ok: false, reason: "bad-tag" };
    this.#remember(name, source);
    return { ok: true, value: { sender: source.sender, counter: Number(counter), keyId, payload } };
  }

  #decrypt(
    datagram: Uint8Array,
    key: KeyObject,
    counter: bigint,
  ): Uint8Array<ArrayBuffer> | undefined {
    const end = datagram.length - TAG_LENGTH;
    const decipher = createDecipheriv(CIPHER, key, nonceOf(counter));
    this.#authenticated.set(datagram.subarray(0, HEADER_LENGTH));
    decipher.setAAD(this.#authenticated);
    decipher.setAuthTag(datagram.subarray(end));
    const text = decipher.update(datagram.subarray(HEADER_LENGTH, end));
    const payload = new Uint8Array(text.length);
    payload.set(text);
    try {
      decipher.final();
    } catch {
      // The one thing that final() throws for is a tag that does not fit.
      return undefined;
    }
    return payload;
  }

  #sourceOf(key: Key, name: string): Source {
    const sender = { id: name.slice(8, 24), life: name.slice(24) };
    return { sender, packetKey: derive(key, this.#cluster, sender) };
  }

  /** Only what had a good tag is remembered: strangers cannot fill the memory. */
  #remember(name: string, source: Source): void {
    if (!this.#derived.has(name)) this.#derived.set(name, source);
  }
}

function hexOf(octets: Uint8Array, from: number, to: number): string {
  return Buffer.from(octets.buffer, octets.byteOffset + from, to - from).toString("hex");
}

function derive(key: Key, cluster: string, sender: Sender): KeyObject {
  const info = `speaker packet/${sender.id}/${sender.life}`;
  return createSecretKey(new Uint8Array(hkdfSync("sha256", key.secret, cluster, info, 32)));
}

/** All of the header but the counter. */
function writeHeader(octets: Uint8Array, keyId: number, sender: Sender): void {
  const view = new DataView(octets.buffer, octets.byteOffset, octets.byteLength);
  octets.set(MAGIC, 0);
  octets[3] = VERSION;
  view.setUint32(4, keyId);
  octets.set(Buffer.from(sender.id, "hex"), 8);
  octets.set(Buffer.from(sender.life, "hex"), 16);
}

function nonceOf(counter: bigint): Uint8Array {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setBigUint64(4, counter);
  return nonce;
}
