import type { Address } from "../packet/address/address.ts";
import type { Life } from "./claims.ts";
import { ReplayWindow } from "./replay.ts";

/** What one speaker keeps of another that it exchanges packets with. */
export class Peer {
  readonly name: string;
  readonly life: Life;
  readonly window: ReplayWindow;
  /** My rings say that we watch each other. */
  chosen = false;
  /** Its rings say so, by a beat that is not that of a guest. */
  guestUntil = -Infinity;
  /** Contact time and clock of the last sign of life. */
  mark = -Infinity;
  heardAt = -Infinity;
  pingAt = -Infinity;
  /** Its newest sequence and when it came, and when I sent the newest of mine that it acknowledged. */
  sequence = 0;
  sequenceAt = -Infinity;
  acknowledged = 0;
  ackedSentAt = -Infinity;
  /** Since when its digests differ from mine. */
  differsSince = Infinity;
  /** When it was last asked for, or sent, something that one packet a while is enough for. */
  comparedAt = -Infinity;
  toldAt = -Infinity;
  suspicion: Suspicion | undefined;
  witness: Witness | undefined;
  witnessAt = -Infinity;
  /** When the LAN last said that its MAC answers; one lost answer does not undo it. */
  answeredAt = -Infinity;
  /** Not heard, yet answering on the LAN: since when, and when that was last found. */
  answeringSince = Infinity;
  excusedAt = -Infinity;
  /** The address that the LAN is asked for while it is heard, and how often in vain. */
  checked: Address | undefined;
  failures = 0;
  unansweredSince = Infinity;

  /** A peer of which nothing was heard but what `window`, from before it was accepted, has seen. */
  constructor(name: string, life: Life, window = new ReplayWindow()) {
    this.name = name;
    this.life = life;
    this.window = window;
  }
}

/** What the LAN said of a suspect. */
export interface Witness {
  readonly at: number;
  /** Its MAC answers: the process lives, only our packets do not pass. */
  readonly answered: boolean;
  /** Frames come in at all: I am not the deaf one. */
  readonly heard: boolean;
  /** Somebody answered a request of mine: what I send goes out, too. */
  readonly reached: boolean;
}

/** A neighbour that was silent for too long, until it is heard or dead. */
export interface Suspicion {
  readonly epoch: number;
  readonly refutation: number;
  stage: "asking" | "pinging-for";
  /** Whom I asked, and what they said. */
  asked: Map<string, "silent" | "agrees" | "unknown">;
  asks: number;
  askAt: number;
  until: number;
}
