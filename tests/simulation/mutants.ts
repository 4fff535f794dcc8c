/** Bugs to plant: each a change of one place in the speaker's sources, which the hunt has to find. */
export interface Mutant {
  readonly name: string;
  readonly file: string;
  /** Stands exactly once in the file. */
  readonly find: string;
  readonly replace: string;
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: "a refutation is dropped",
    file: "roster.ts",
    find: "const order = news.epoch - known.epoch || news.refutation - known.refutation;",
    replace: "const order = news.epoch - known.epoch;",
  },
  {
    name: "a term does not grow",
    file: "ownership.ts",
    find: "const term = Math.max(claims.term(address), before) + 1;",
    replace: "const term = Math.max(1, claims.term(address));",
  },
  {
    name: "an owner that comes late keeps answering",
    file: "membership.ts",
    find: 'this.fence.raise("stall");',
    replace: "",
  },
  {
    name: "one that is told to be dead goes on",
    file: "membership.ts",
    find: "if (isHealing || !roster.isLive(self)) return undefined;",
    replace: "if (isHealing || roster.isLive(self)) return undefined;",
  },
  {
    name: "silence counts while nobody is heard",
    file: "contact.ts",
    find: "if (inContact > 0) this.time += Math.min(passed, inContact);",
    replace: "this.time += passed;",
  },
  {
    name: "a suspicion is a death",
    file: "watch.ts",
    find: "if (agreed > 0 && (agreed === answers.length || now >= suspicion.until)) {",
    replace: "if (agreed >= 0) {",
  },
  {
    name: "a giver yields to an equal term",
    file: "ownership.ts",
    find: "if (best !== undefined && best.claim.term > mine.term) {",
    replace: "if (best !== undefined) {",
  },
  {
    name: "an owner keeps what another claims better",
    file: "ownership.ts",
    find: "} else if (best !== undefined && this.#isBetter(best, mine)) {",
    replace: "} else if (best !== undefined && mine.version < 0) {",
  },
  {
    name: "an owner is firm without a quorum",
    file: "ownership.ts",
    find: "if (!isQuorate) this.#quorateSince = Infinity;",
    replace: "if (!isQuorate && this.#quorateSince === Infinity) this.#quorateSince = now;",
  },
  {
    name: "a higher term beats a firm claim",
    file: "claims.ts",
    find: "if (a.claim.firm !== b.claim.firm) return a.claim.firm ? -1 : 1;",
    replace: "",
  },
  {
    name: "a returning node takes its addresses back",
    file: "ownership.ts",
    find: "    this.#handovers.delete(address);\n    if (best !== undefined) {",
    replace:
      "    this.#handovers.delete(address);\n    if (best !== undefined && candidacy?.heir(0) !== this.#context.self) {",
  },
  {
    name: "the claims of a life that is over still stand",
    file: "membership.ts",
    find: "      this.#retire(before.life);\n      // where",
    replace: "      // where",
  },
  {
    name: "differing tables are not compared",
    file: "gossip.ts",
    find: "    peer.differsSince = now;\n    this.compare(peer.name);",
    replace: "    peer.differsSince = now;",
  },
  {
    name: "a packet may count twice",
    file: "replay.ts",
    find: "if (this.#highest - counter >= REPLAY_WINDOW || this.#isMarked(counter)) return",
    replace: "if (this.#highest - counter >= REPLAY_WINDOW) return",
  },
  {
    name: "a member that answers on the LAN is buried",
    file: "watch.ts",
    find: "if (witness.answered) peer.answeredAt = witness.at;",
    replace: "",
  },
  {
    name: "a drain does not wait for successors",
    file: "ownership.ts",
    find: 'else this.#give(mine, "drain", Infinity);',
    replace: 'else this.#stop(mine, "drained");',
  },
  {
    name: "the dead are never tried again",
    file: "watch.ts",
    find: "if (isOld && this.#context.random() >= 0.1) continue;",
    replace: "if (isOld || name !== this.#context.self) continue;",
  },
  {
    name: "the dead are tried only where they were",
    file: "joining.ts",
    find: "const elsewhere = this.#elsewhere(name);",
    replace: "const elsewhere = this.#elsewhere(this.#context.self);",
  },
  {
    name: "whoever beats only because it is beaten stays a neighbour",
    file: "watch.ts",
    find: "guest: peer?.chosen !== true,",
    replace: "guest: false,",
  },
  {
    name: "nobody steps up for an heir that does not claim",
    file: "orphans.ts",
    find: "if (silent.length === 0) return true;",
    replace: "if (silent.length === 0) return false;",
  },
  {
    name: "a deaf node trusts its own ears",
    file: "membership.ts",
    find: "this.#isSolicited()",
    replace: "this.#context.now < 0",
  },
];
