/** Speakers in conversation over real sockets on loopback: who answers for an address. */
import { randomBytes } from "node:crypto";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { expect, test } from "@jest/globals";
import { address, type Address } from "../../packet/address/address.ts";
import { parseMac, type MacAddress } from "../../packet/address/mac.ts";
import { listCandidacy } from "../../speaker/candidacy.ts";
import { rankOf } from "../../speaker/claims.ts";
import { Conversation, type Ground } from "../../speaker/conversation.ts";
import { makeKey, type Key } from "../../speaker/seal.ts";
import { eventually } from "../support/eventually.ts";

const VIPS = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"].map(address);
const NAMES = ["node1", "node2", "node3"];
const LOOPBACK = address("127.0.0.1");

function mac(index: number): MacAddress {
  const parsed = parseMac(`02:00:00:00:00:0${index}`);
  if (!parsed.ok) throw new Error(parsed.message);
  return parsed.value;
}

/** A speaker whose LAN is a set of addresses: what it answers for now. */
class Speaker implements Disposable {
  readonly answered = new Set<Address>();
  readonly troubles: string[] = [];
  readonly conversation: Conversation;
  fenced = false;
  left: number | undefined;

  constructor(
    name: string,
    ports: ReadonlyMap<string, number>,
    keys: readonly Key[],
    all: () => readonly Speaker[],
  ) {
    const ground: Ground = {
      withdraw: (addresses) => addresses.forEach((each) => this.answered.delete(each)),
      activate: (addresses) => addresses.forEach((each) => this.answered.add(each)),
      announce: () => undefined,
      forget: () => undefined,
      fence: (on) => (this.fenced = on),
      witness: (addresses) =>
        Promise.resolve({
          answered: all().some(
            (each) => each !== this && addresses.some((vip) => each.answered.has(vip)),
          ),
          heard: true,
          reached: true,
        }),
      probe: () => Promise.resolve({ taken: false, heard: true }),
    };
    const ranked = (vip: Address): string[] =>
      NAMES.toSorted((a, b) => (rankOf(a, vip) < rankOf(b, vip) ? -1 : 1));
    const candidacies = new Map(VIPS.map((vip) => [vip, listCandidacy(ranked(vip))]));
    this.conversation = new Conversation({
      node: name,
      cluster: "test",
      keys,
      interval: 200,
      multiplier: 4,
      port: ports.get(name) ?? 0,
      endpoints: [{ address: LOOPBACK, port: ports.get(name) ?? 0 }],
      links: [{ name: "eth0", mac: mac(NAMES.indexOf(name) + 1), prefixes: ["192.0.2.0/24"] }],
      candidacies: (vip) => candidacies.get(vip),
      ground,
      reports: {
        owners: () => undefined,
        moved: () => undefined,
        members: () => undefined,
        left: (forced) => (this.left = forced),
        trouble: (message) => this.troubles.push(message),
      },
      now: () => performance.now(),
    });
    const hints = [...ports].map(([node, port]) => ({
      name: node,
      endpoints: [{ address: LOOPBACK, port }],
    }));
    this.conversation.step({ type: "hints", hints });
    this.conversation.step({ type: "candidacies", addresses: VIPS });
  }

  [Symbol.dispose](): void {
    this.conversation.close();
    this.answered.clear();
  }
}

const somePort = (): number => 20_000 + Math.floor(Math.random() * 30_000);

/** Three speakers on free ports; ports are chosen at random and tried, as two runs may go on at once. */
function startAll(keysOf: (name: string) => readonly Key[], base = somePort()): Speaker[] {
  const ports = new Map(NAMES.map((name, index) => [name, base + index]));
  const speakers: Speaker[] = [];
  for (const name of NAMES) speakers.push(new Speaker(name, ports, keysOf(name), () => speakers));
  return speakers;
}

const SHARED = makeKey(randomBytes(32));
const owners = (speakers: readonly Speaker[], vip: Address): number =>
  speakers.filter(({ answered }) => answered.has(vip)).length;

test("each address gets one owner, a dead one is replaced, one that leaves hands over", async () => {
  const speakers = startAll(() => [SHARED]);
  try {
    await eventually(
      () => {
        for (const vip of VIPS) expect(owners(speakers, vip)).toBe(1);
      },
      { deadlineMs: 20_000 },
    );
    const victim = speakers.find(({ answered }) => answered.size > 0);
    victim?.[Symbol.dispose]();
    const survivors = speakers.filter((each) => each !== victim);
    await eventually(
      () => {
        for (const vip of VIPS) expect(owners(survivors, vip)).toBe(1);
      },
      { deadlineMs: 20_000 },
    );
    const leaver = survivors.find(({ answered }) => answered.size > 0);
    leaver?.conversation.step({ type: "drain", on: true, deadline: performance.now() + 15_000 });
    await eventually(() => expect(leaver?.left).toBe(0), { deadlineMs: 20_000 });
    const last = survivors.filter((each) => each !== leaver);
    for (const vip of VIPS) expect(owners(last, vip)).toBe(1);
    expect(speakers.flatMap(({ troubles }) => troubles)).toEqual([]);
  } finally {
    for (const each of speakers) each[Symbol.dispose]();
  }
}, 70_000);

test("speakers with another key are strangers: refused and counted", async () => {
  const other = makeKey(randomBytes(32));
  const speakers = startAll((name) => [name === "node3" ? other : SHARED]);
  let strangers = 0;
  try {
    await eventually(
      () => {
        for (const each of [speakers[0], speakers[2]])
          strangers += each?.conversation.takeCounts().refused["unknown-key"] ?? 0;
        expect(strangers).toBeGreaterThan(2);
      },
      { deadlineMs: 20_000 },
    );
    expect(speakers[2]?.conversation.protocol.roster.isLive("node1")).toBe(false);
  } finally {
    for (const each of speakers) each[Symbol.dispose]();
  }
}, 30_000);

test("a speaker whose port is taken says so once, and is a member as soon as it is free", async () => {
  const base = somePort();
  const other = createSocket("udp4").bind(base + 1);
  await once(other, "listening");
  const speakers = startAll(() => [SHARED], base);
  const [first, second] = speakers;
  const isMember = () => first?.conversation.protocol.roster.isLive("node2");
  try {
    await eventually(() => expect(second?.troubles).toHaveLength(1), { deadlineMs: 20_000 });
    expect(second?.troubles[0]).toMatch(/^UDP port \d+, ipv4: .*EADDRINUSE/);
    await eventually(() => expect(first?.conversation.protocol.roster.isLive("node3")).toBe(true), {
      deadlineMs: 20_000,
    });
    expect(isMember()).not.toBe(true);
    await new Promise((resolve) => other.close(() => resolve(undefined)));
    await eventually(() => expect(isMember()).toBe(true), { deadlineMs: 20_000 });
    expect(second?.troubles).toHaveLength(1);
  } finally {
    for (const each of speakers) each[Symbol.dispose]();
  }
}, 70_000);
