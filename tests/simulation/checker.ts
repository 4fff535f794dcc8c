/**
 * The invariants, looked at after every step of every node from outside: from the actions that a
 * shell would have carried out, and from what the node knows. A violation throws with the time.
 */
import { compareClaims, countedClaim, type Claim, type HeldClaim } from "../../speaker/claims.ts";
import type { Action } from "../../speaker/context.ts";
import type { Event, Protocol } from "../../speaker/protocol.ts";
import { isHearing } from "../../speaker/roster.ts";
import type { Address } from "../../packet/address/address.ts";
import { rank, type Observer, type SimNode, type World } from "./world.ts";

export class Violation extends Error {}

const NONE: ReadonlySet<Address> = new Set();

interface Awake {
  readonly since: number;
  heard: boolean;
}

/** Checks I1 to I7 at every instant. */
export class Checker implements Observer {
  readonly #world: World;
  /** Highest term and version that a life gave an address, and every version that it wrote. */
  readonly #terms = new Map<string, { version: number; term: number }[]>();
  readonly #written = new Map<string, Claim>();
  readonly #before = new Map<SimNode, Map<Address, Claim>>();
  readonly #awake = new Map<SimNode, Awake>();
  readonly #lastStep = new Map<SimNode, { life: string; at: number }>();
  checks = 0;

  constructor(world: World) {
    this.#world = world;
  }

  before(node: SimNode, event: Event): void {
    const last = this.#lastStep.get(node);
    const { now } = this.#world;
    const local = node.local();
    if (last?.life === node.life && node.active.size > 0 && local - last.at > 4.5 * node.interval) {
      // The process stood still for so long that it may have been declared dead (I6).
      this.#awake.set(node, { since: now, heard: false });
    }
    this.#lastStep.set(node, { life: node.life, at: local });
    const awake = this.#awake.get(node);
    if (awake !== undefined) {
      if (event.type === "packet") awake.heard = true;
      if (now - awake.since > 100) this.#awake.delete(node);
    }
  }

  stepped(node: SimNode, event: Event, actions: readonly Action[]): void {
    const { protocol } = node;
    if (protocol === undefined) return;
    this.checks++;
    this.#checkAnswering(node, protocol);
    const touched = this.#touched(node, event, actions);
    for (const address of touched) this.#checkAddress(node, protocol, address, actions);
    this.#checkWriter(node, actions);
    this.#checkAwake(node);
  }

  fail(invariant: string, node: SimNode, what: string): never {
    const { now, seed } = this.#world;
    throw new Violation(
      `${invariant} at ${now.toFixed(2)} on ${node.name} (seed ${seed}): ${what}`,
    );
  }

  /** I1: answers only as an active or draining member, unfenced, for what its own set holds. */
  #checkAnswering(node: SimNode, protocol: Protocol): void {
    if (node.active.size === 0) return;
    const { own } = protocol;
    if (protocol.fence !== undefined && !node.fenced)
      this.fail("I1", node, "fenced, yet answering");
    if (own.status !== "active" && own.status !== "draining") {
      this.fail("I1", node, `answers while ${own.status}`);
    }
  }

  /** Addresses that the step may have changed something about. */
  #touched(node: SimNode, event: Event, actions: readonly Action[]): ReadonlySet<Address> {
    if (actions.length === 0 && event.type !== "packet") return NONE;
    const touched = new Set<Address>();
    for (const action of actions) {
      if (action.type === "activate" || action.type === "withdraw" || action.type === "owner") {
        for (const address of action.addresses) touched.add(address);
      }
    }
    if (event.type === "packet") {
      for (const message of event.packet.messages) {
        if (message.type === "claims" || message.type === "page") {
          for (const { address } of message.claims) touched.add(address);
        } else if (message.type === "members") {
          for (const address of node.active) touched.add(address);
        }
      }
    }
    return touched;
  }

  #checkAddress(
    node: SimNode,
    protocol: Protocol,
    address: Address,
    actions: readonly Action[],
  ): void {
    const mine = protocol.claims.held(node.life, address);
    if (node.active.has(address) !== (mine !== undefined)) {
      this.fail(
        "I1",
        node,
        `${address}: answers ${node.active.has(address)}, set says ${mine !== undefined}`,
      );
    }
    const others: HeldClaim[] = [];
    for (const claim of protocol.claims.on(address)) {
      const record = protocol.roster.ofLife(claim.life);
      if (claim === mine || record === undefined || !isHearing(record)) continue;
      others.push({ claim: countedClaim(claim, record.humbled), node: record.name });
    }
    const known = this.#before.get(node) ?? new Map<Address, Claim>();
    this.#before.set(node, known);
    const was = known.get(address);
    if (mine === undefined) {
      known.delete(address);
      if (was?.giving === true && was.life === node.life) {
        const stop = actions.find((a) => a.type === "withdraw" && a.addresses.includes(address));
        if (stop?.type !== "withdraw" || stop.cause !== "better-claim") {
          this.#checkStop(node, protocol, was, others);
        } else {
          // It had ceased to look for a successor in the same step, and yielded as an owner does.
          const me = { claim: { ...was, giving: false, firm: false }, node: node.name };
          const isRight = others.some((other) => compareClaims(other, me, rank) < 0);
          if (!isRight) this.fail("I5", node, `${address}: yielded to nobody better`);
        }
      }
      return;
    }
    known.set(address, mine);
    const holders = others.filter(({ claim }) => !claim.giving);
    // I2: a better live claim ends mine in this very step; a giver stops for a higher term.
    for (const other of holders) {
      const isWorse = mine.giving
        ? other.claim.term > mine.term && this.#isBest(other, holders)
        : compareClaims(other, { claim: mine, node: node.name }, rank) < 0;
      if (isWorse) this.fail("I2", node, `${address}: keeps it though ${other.node} is better`);
    }
    // I4: nothing is claimed that somebody is known to hold.
    const isNew = was?.life !== mine.life;
    if (isNew && holders.length > 0) this.fail("I4", node, `${address}: claimed, held by another`);
  }

  #isBest(held: HeldClaim, all: readonly HeldClaim[]): boolean {
    return all.every((other) => other === held || compareClaims(held, other, rank) < 0);
  }

  /** I5: why a giver stopped. */
  #checkStop(node: SimNode, protocol: Protocol, was: Claim, others: readonly HeldClaim[]): void {
    const { address } = was;
    if (others.some(({ claim }) => !claim.giving && claim.term > was.term)) return;
    const candidacy = node.view.get(address);
    const isEligible = (name: string) => {
      const record = protocol.roster.get(name);
      return record !== undefined && isHearing(record) && record.status === "active";
    };
    let heirs = 0;
    for (let place = 0; candidacy?.heir(place) !== undefined; place++) {
      const name = candidacy.heir(place);
      if (name !== undefined && name !== node.name && isEligible(name)) heirs++;
    }
    if (heirs === 0 || protocol.own.status === "left") return;
    const since = this.#givingSince.get(`${node.life}/${address}`) ?? 0;
    if (node.local() - since >= 5000 - 1) return;
    if (protocol.own.status === "draining" && candidacy?.heir(0) === undefined) return;
    this.fail("I5", node, `${address}: gave up with an heir and no successor`);
  }

  readonly #givingSince = new Map<string, number>();

  /** I3: only the owner writes a claim, and its terms never fall. */
  #checkWriter(node: SimNode, actions: readonly Action[]): void {
    for (const action of actions) {
      if (action.type !== "send") continue;
      for (const message of action.messages) {
        if (message.type !== "claims" && message.type !== "page") continue;
        for (const claim of message.claims) this.#checkClaim(node, claim);
      }
    }
  }

  #checkClaim(node: SimNode, claim: Claim): void {
    const key = `${claim.life}/${claim.address}`;
    const id = `${key}/${claim.version}`;
    const written = this.#written.get(id);
    if (written === claim) return;
    if (written === undefined) {
      if (claim.life !== node.life)
        this.fail("I3", node, `${claim.address}: wrote another's claim`);
      const terms = this.#terms.get(key) ?? [];
      // Versions may be seen out of order: queued, then superseded within one step.
      for (const { version, term } of terms) {
        if (version < claim.version ? term > claim.term : term < claim.term) {
          this.fail("I3", node, `${claim.address}: term fell`);
        }
      }
      terms.push({ version: claim.version, term: claim.term });
      this.#terms.set(key, terms);
      this.#written.set(id, claim);
      if (claim.giving) {
        if (!this.#givingSince.has(key)) this.#givingSince.set(key, node.local());
      } else this.#givingSince.delete(key);
      return;
    }
    const isSame =
      written.term === claim.term &&
      written.firm === claim.firm &&
      written.giving === claim.giving &&
      written.released === claim.released;
    if (!isSame) this.fail("I3", node, `${claim.address}: changed another's claim`);
  }

  /** I6: after a loop gap in which it may have died, nothing is answered before anybody was heard. */
  #checkAwake(node: SimNode): void {
    const awake = this.#awake.get(node);
    if (awake === undefined || awake.heard || !node.isAnswering || node.active.size === 0) return;
    if (this.#world.nodes.length === 1) return;
    const others = this.#world.nodes.some((other) => other !== node && other.starts > 0);
    if (others)
      this.fail("I6", node, `answers ${this.#world.now - awake.since} ms after a gap, unchecked`);
  }
}

/** How long an address had no answerer, or two, from the outside. */
export class Timeline implements Observer {
  readonly #world: World;
  readonly #since = new Map<Address, { count: number; since: number }>();
  readonly gaps: { address: Address; at: number; length: number }[] = [];
  readonly overlaps: { address: Address; at: number; length: number }[] = [];
  moves = 0;
  readonly #last = new Map<Address, SimNode>();

  constructor(world: World) {
    this.#world = world;
  }

  answering(address: Address, node: SimNode, on: boolean): void {
    const { now } = this.#world;
    const count = this.#world.answering(address).length;
    const known = this.#since.get(address);
    if (on && this.#last.get(address) !== node) {
      this.moves++;
      this.#last.set(address, node);
    }
    if (known?.count === count) return;
    if (known !== undefined && now > known.since) {
      const entry = { address, at: known.since, length: now - known.since };
      if (known.count === 0) this.gaps.push(entry);
      else if (known.count > 1) this.overlaps.push(entry);
    }
    // Two, then three at once are one overlap.
    const isOn = known !== undefined && known.count > 1 && count > 1;
    this.#since.set(address, { count, since: isOn ? known.since : now });
  }

  /** Gives the longest gap that began after an instant, those that last included. */
  longestGap(after = 0): number {
    let longest = 0;
    for (const { at, length } of this.gaps) if (at >= after) longest = Math.max(longest, length);
    for (const { count, since } of this.#since.values()) {
      if (count === 0 && since >= after) longest = Math.max(longest, this.#world.now - since);
    }
    return longest;
  }

  longestOverlap(after = 0): number {
    let longest = 0;
    for (const { at, length } of this.overlaps)
      if (at >= after) longest = Math.max(longest, length);
    for (const { count, since } of this.#since.values()) {
      if (count > 1 && since >= after) longest = Math.max(longest, this.#world.now - since);
    }
    return longest;
  }
}

/** What has to be so once nothing happens any more (B1); gives what is not. */
export function unsettled(
  world: World,
  members: readonly SimNode[],
  addresses: readonly Address[],
): string[] {
  const problems: string[] = [];
  const [first] = members;
  if (first?.protocol === undefined) return ["nobody runs"];
  const names = new Set(members.map(({ name }) => name));
  for (const node of members) {
    const { protocol } = node;
    if (protocol === undefined) continue;
    if (protocol.own.status === "joining") problems.push(`${node.name} is still joining`);
    if (protocol.fence !== undefined) problems.push(`${node.name} is fenced: ${protocol.fence}`);
    const [c, d] = [protocol.roster.digest(), first.protocol.roster.digest()];
    const agrees = c.low === d.low && c.high === d.high;
    if (!agrees) problems.push(`${node.name}'s members differ`);
    // Of equal digests one view stands for all.
    for (const other of agrees && node !== first ? [] : members) {
      const { own } = other.protocol!;
      if (
        (own.status === "active" || own.status === "draining") !==
        protocol.roster.isLive(other.name)
      ) {
        problems.push(
          `${node.name} holds ${other.name} ${protocol.roster.isLive(other.name) ? "alive" : "dead"}`,
        );
      }
    }
    const [a, b] = [protocol.claims.table(), first.protocol.claims.table()];
    if (a.low !== b.low || a.high !== b.high) problems.push(`${node.name}'s table differs`);
  }
  for (const address of addresses) {
    const owners = world.answering(address).filter((node) => names.has(node.name));
    const ready = (world.ready.get(address) ?? []).filter((name) => {
      const own = names.has(name) ? world.node(name).protocol?.own : undefined;
      return own?.status === "active" && !own.deaf;
    });
    const isDrainedBy = owners.every((node) => node.protocol?.own.status === "draining");
    if (ready.length > 0 && owners.length !== 1) {
      problems.push(
        `${address} has ${owners.length} answerers: ${owners.map((n) => n.name).join()}`,
      );
    } else if (ready.length === 0 && owners.length > 0 && !isDrainedBy) {
      problems.push(`${address} is answered without a candidate`);
    } else if (owners.some((node) => !isDrainedBy && !ready.includes(node.name))) {
      problems.push(`${address} is answered by no candidate`);
    }
  }
  return problems;
}
