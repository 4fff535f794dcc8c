/**
 * What strangers send to a speaker's port changes nothing but a counter: two speakers in
 * conversation over real sockets, and between them one who records all and sends what it likes.
 */
import { randomBytes, randomInt } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { address, type Address } from "../../packet/address/address.ts";
import { parseMac } from "../../packet/address/mac.ts";
import { listCandidacy } from "../../speaker/candidacy.ts";
import { Conversation, type Ground } from "../../speaker/conversation.ts";
import { makeKey, Seal, SEAL_OVERHEAD } from "../../speaker/seal.ts";
import { eventually } from "../support/eventually.ts";

const LOOPBACK = "127.0.0.1";
const VIP = address("192.0.2.1");
const CLUSTER = "test";
const SECRET = randomBytes(32);
const KEY = makeKey(SECRET);
/** A speaker's name, key and links to the other one. */
const NAMES = ["node1", "node2"] as const;
type Name = (typeof NAMES)[number];

async function bound(): Promise<{ socket: Socket; port: number }> {
  const socket = createSocket("udp4");
  socket.bind(0, LOOPBACK);
  await once(socket, "listening");
  return { socket, port: socket.address().port };
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const { socket, port } = await bound();
  socket.close();
  return port;
}

/** Passes on what the two tell each other, and remembers what node1 was told. */
class Tap {
  readonly recorded: Uint8Array[] = [];
  readonly #socket: Socket;
  readonly port: number;

  private constructor(socket: Socket, port: number, ports: Readonly<Record<Name, number>>) {
    this.#socket = socket;
    this.port = port;
    socket.on("message", (datagram, from) => {
      const toFirst = from.port === ports.node2;
      if (toFirst) this.recorded.push(Uint8Array.from(datagram));
      socket.send(datagram, toFirst ? ports.node1 : ports.node2, LOOPBACK);
    });
  }

  static async open(ports: Readonly<Record<Name, number>>): Promise<Tap> {
    const { socket, port } = await bound();
    return new Tap(socket, port, ports);
  }

  close(): void {
    this.#socket.close();
  }
}

class Speaker {
  readonly name: Name;
  readonly answered = new Set<Address>();
  readonly troubles: string[] = [];
  readonly conversation: Conversation;
  /** Every change of what is answered for. */
  changes = 0;

  constructor(name: Name, port: number, tap: number) {
    this.name = name;
    const change = (todo: (each: Address) => void) => (addresses: readonly Address[]) => {
      this.changes++;
      addresses.forEach(todo);
    };
    const ground: Ground = {
      withdraw: change((each) => this.answered.delete(each)),
      activate: change((each) => this.answered.add(each)),
      announce: () => undefined,
      forget: () => undefined,
      fence: () => undefined,
      witness: () => Promise.resolve({ answered: false, heard: true, reached: true }),
      probe: () => Promise.resolve({ taken: false, heard: true }),
    };
    const mac = parseMac(`02:00:00:00:00:0${name.slice(-1)}`);
    if (!mac.ok) throw new Error(mac.message);
    const endpoint = (each: number) => ({ address: address(LOOPBACK), port: each });
    this.conversation = new Conversation({
      node: name,
      cluster: CLUSTER,
      keys: [KEY],
      interval: 200,
      multiplier: 4,
      port,
      endpoints: [endpoint(port)],
      links: [{ name: "eth0", mac: mac.value, prefixes: ["192.0.2.0/24"] }],
      candidacies: (each) => (each === VIP ? listCandidacy([...NAMES]) : undefined),
      ground,
      reports: {
        owners: () => undefined,
        moved: () => undefined,
        members: () => undefined,
        left: () => undefined,
        trouble: (message) => this.troubles.push(message),
      },
      now: () => performance.now(),
    });
    const hints = NAMES.map((each) => ({
      name: each,
      endpoints: [endpoint(each === name ? port : tap)],
    }));
    this.conversation.step({ type: "hints", hints });
    this.conversation.step({ type: "candidacies", addresses: [VIP] });
  }

  /** All that bears on who answers: what must not change. */
  get belief(): unknown {
    const { protocol } = this.conversation;
    const members = [...protocol.roster.records()].map((each) => ({
      name: each.name,
      life: each.life,
      epoch: each.epoch,
      refutation: each.refutation,
      status: each.status,
      live: protocol.roster.isLive(each.name),
    }));
    const { owner, claim } = protocol.view(VIP);
    return { members, owner, term: claim?.term, answered: [...this.answered] };
  }
}

let tap: Tap;
let speakers: readonly [Speaker, Speaker];
let attacker: { socket: Socket; port: number };
let target = 0;

beforeAll(async () => {
  const ports = { node1: await freePort(), node2: await freePort() };
  target = ports.node1;
  tap = await Tap.open(ports);
  attacker = await bound();
  speakers = [
    new Speaker("node1", ports.node1, tap.port),
    new Speaker("node2", ports.node2, tap.port),
  ];
  await eventually(
    () => {
      const answering = speakers.filter(({ answered }) => answered.has(VIP));
      expect(answering).toHaveLength(1);
      // The one that does not answer must have heard who does: it would learn it in the middle of a test.
      for (const { conversation } of speakers)
        expect(conversation.protocol.view(VIP).owner).toBe(answering[0]?.name);
      for (const { conversation } of speakers)
        for (const name of NAMES) expect(conversation.protocol.roster.isLive(name)).toBe(true);
      // of the joining, and of some beats
      expect(tap.recorded.length).toBeGreaterThan(20);
    },
    { deadlineMs: 30_000 },
  );
}, 40_000);

afterAll(() => {
  for (const { conversation } of speakers) conversation.close();
  tap.close();
  attacker.socket.close();
});

/** Reasons of node1's for refusing what it could not open, with how often since the start. */
const refused: Record<string, number> = {};

/** Everything that node1 counts, by name. */
function counts(): Readonly<Record<string, number>> {
  const { conversation } = speakers[0];
  for (const [reason, count] of Object.entries(conversation.takeCounts().refused))
    refused[reason] = (refused[reason] ?? 0) + count;
  return { ...refused, ...Object.fromEntries(conversation.protocol.counters) };
}

const dropped = (now: Readonly<Record<string, number>>, before: typeof now): number =>
  ["truncated", "foreign", "version", "unknown-key", "bad-tag", "malformed", "dropped replayed"]
    .map((reason) => (now[reason] ?? 0) - (before[reason] ?? 0))
    .reduce((a, b) => a + b, 0);

/** Sends datagrams to node1 and waits until each was counted; few at once, so that none is lost. */
async function attack(datagrams: readonly Uint8Array[]): Promise<Record<string, number>> {
  const before = counts();
  const belief = speakers.map((each) => each.belief);
  const changes = speakers.map((each) => each.changes);
  for (let i = 0; i < datagrams.length; i += 64) {
    const batch = datagrams.slice(i, i + 64);
    for (const each of batch) attacker.socket.send(each, target, LOOPBACK);
    await eventually(() => expect(dropped(counts(), before)).toBe(i + batch.length), {
      deadlineMs: 20_000,
    });
  }
  const after = counts();
  expect(speakers.map((each) => each.belief)).toEqual(belief);
  expect(speakers.map((each) => each.changes)).toEqual(changes);
  expect(speakers.flatMap(({ troubles }) => troubles)).toEqual([]);
  return Object.fromEntries(
    Object.keys(after)
      .map((name) => [name, (after[name] ?? 0) - (before[name] ?? 0)] as const)
      .filter(([name, by]) => by > 0 && (name in refused || name.startsWith("dropped"))),
  );
}

const life = (): string => randomBytes(16).toString("hex");
const sealedBy = (seal: Seal, payload: Uint8Array): Uint8Array => {
  const sealed = seal.seal(payload, "node1", []);
  if (sealed === undefined) throw new Error("no key");
  return sealed;
};
const some = (): Uint8Array => {
  const found = tap.recorded.at(-1);
  if (found === undefined) throw new Error("nothing was recorded");
  return found;
};

test("replayed datagrams are counted as such", async () => {
  const all = [...tap.recorded];
  expect(await attack(all)).toEqual({ "dropped replayed": all.length });
});

test("every shorter form of a datagram is refused", async () => {
  const whole = some();
  const found = await attack(Array.from(whole, (_octet, length) => whole.subarray(0, length)));
  expect(found["truncated"]).toBe(SEAL_OVERHEAD);
  expect(found["bad-tag"]).toBe(whole.length - SEAL_OVERHEAD);
});

test("a datagram with any one bit changed is refused", async () => {
  const whole = some();
  const changed = Array.from({ length: whole.length * 8 }, (_none, bit) => {
    const copy = Uint8Array.from(whole);
    copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    return copy;
  });
  const found = await attack(changed);
  expect(found["foreign"]).toBe(24);
  expect(found["version"]).toBe(8);
  expect(found["unknown-key"]).toBe(32);
  expect(found["bad-tag"]).toBe(whole.length * 8 - 64);
}, 60_000);

test("whatever another key seals is refused", async () => {
  const seal = new Seal(CLUSTER, "node2", life(), [makeKey(randomBytes(32))]);
  const forged = Array.from({ length: 100 }, () => sealedBy(seal, some().subarray(0, 60)));
  expect(await attack(forged)).toEqual({ "unknown-key": 100 });
});

test("a foreign cluster on the same LAN with the same key and names is refused", async () => {
  const seal = new Seal("another", "node2", life(), [KEY]);
  const foreign = Array.from({ length: 100 }, () => sealedBy(seal, some().subarray(0, 60)));
  expect(await attack(foreign)).toEqual({ "bad-tag": 100 });
});

const SEED = Number(process.env["SEED"] ?? randomInt(2 ** 31));

/** Octets that follow from a seed (mulberry32). */
function* octets(seed: number): Generator<number, never> {
  for (let state = seed; ;) {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    yield (t ^ (t >>> 14)) & 0xff;
  }
}

test(`random datagrams are refused, also with a right header (SEED=${SEED})`, async () => {
  const source = octets(SEED);
  const header = some().subarray(0, 32);
  const random = Array.from({ length: 3_000 }, (_none, i) => {
    const length = (source.next().value << 8) | source.next().value;
    const datagram = Uint8Array.from({ length: length % 1_400 }, () => source.next().value);
    if (i % 2 === 0) datagram.set(header.subarray(0, Math.min(header.length, datagram.length)));
    return datagram;
  });
  await attack(random);
}, 60_000);

test("what a holder of the key sends that is no message is refused", async () => {
  const source = octets(SEED + 1);
  const seal = new Seal(CLUSTER, "node2", life(), [KEY]);
  const nonsense = Array.from({ length: 300 }, () => {
    // no message begins with a type beyond those that there are
    const payload = Uint8Array.from(
      { length: 1 + (source.next().value % 64) },
      () => source.next().value,
    );
    payload[0] = 255;
    return sealedBy(seal, payload);
  });
  expect(await attack(nonsense)).toEqual({ malformed: 300 });
});

test("neither a key nor its holder can be made to tell the secret", () => {
  const hex = SECRET.toString("hex");
  const told = JSON.stringify([KEY, new Seal(CLUSTER, "node1", life(), [KEY])]);
  expect(told).not.toContain(hex.slice(0, 16));
  expect(told).not.toContain(SECRET.toString("base64").slice(0, 12));
});
