/**
 * Who answers for an address, as the wire shows it: a host asks every few milliseconds, and what it
 * is answered is captured and read by tshark.
 */
import { run } from "./command.ts";

/** One answer to a question. */
export interface Answer {
  readonly address: string;
  readonly hardwareAddress: string;
  /** Milliseconds since the epoch. */
  readonly atMs: number;
}

/** What the answers about one address come to. */
export interface Answering {
  /** Hardware addresses in the order of their first answers; again when one comes back after another. */
  readonly order: readonly string[];
  /** The most that answered at one instant. */
  readonly answerers: number;
  /** The longest time that two answered at once. */
  readonly overlapMs: number;
  /** The longest time between two answers. */
  readonly silenceMs: number;
}

/** A stretch during which somebody answered. */
interface Presence {
  readonly hardwareAddress: string;
  readonly fromMs: number;
  toMs: number;
}

/** Whoever has not answered for so long has stopped: much more than between two questions. */
const GAP_MS = 500;

function presences(answers: readonly Answer[]): Presence[] {
  const found: Presence[] = [];
  const last = new Map<string, Presence>();
  for (const { hardwareAddress, atMs } of answers) {
    const before = last.get(hardwareAddress);
    if (before !== undefined && atMs - before.toMs <= GAP_MS) {
      before.toMs = atMs;
      continue;
    }
    const begun = { hardwareAddress, fromMs: atMs, toMs: atMs };
    last.set(hardwareAddress, begun);
    found.push(begun);
  }
  return found;
}

/** Judges the answers about one address, which are in order of time. */
export function judgeAnswers(answers: readonly Answer[]): Answering {
  const found = presences(answers);
  let answerers = 0;
  let overlapMs = 0;
  for (const one of found) {
    const others = found.filter((each) => each.hardwareAddress !== one.hardwareAddress);
    const meanwhile = others.filter(
      ({ fromMs, toMs }) => fromMs <= one.fromMs && toMs >= one.fromMs,
    );
    answerers = Math.max(answerers, 1 + meanwhile.length);
    for (const { toMs } of meanwhile)
      overlapMs = Math.max(overlapMs, Math.min(toMs, one.toMs) - one.fromMs);
  }
  let silenceMs = 0;
  for (const [i, { atMs }] of answers.entries())
    silenceMs = Math.max(silenceMs, atMs - (answers[i - 1]?.atMs ?? atMs));
  const order = found
    .map((each) => each.hardwareAddress)
    .filter((each, i, all) => each !== all[i - 1]);
  return { order, answerers, overlapMs, silenceMs };
}

/** Filter of a capture that holds answers alone. */
export const ANSWER_FILTER = "(arp[6:2] = 2) or (icmp6 and ip6[40] = 136)";

const FIELDS = [
  "frame.time_epoch",
  "eth.src",
  "eth.dst",
  "arp.src.proto_ipv4",
  "icmpv6.nd.na.target_address",
];

/** Reads the answers that a capture holds: those to somebody, not what is announced to everybody. */
export async function readAnswers(file: string): Promise<Answer[]> {
  const fields = FIELDS.flatMap((field) => ["-e", field]);
  const text = await run(["tshark", "-n", "-r", file, "-T", "fields", ...fields]);
  return text.split("\n").flatMap((line) => {
    const [time = "", hardwareAddress = "", to = "", ipv4 = "", ipv6 = ""] = line.split("\t");
    const address = ipv4 === "" ? ipv6 : ipv4;
    // the lowest bit of the first octet: to a group
    if (address === "" || (parseInt(to.slice(0, 2), 16) & 1) === 1) return [];
    return [{ address, hardwareAddress, atMs: Number(time) * 1000 }];
  });
}
