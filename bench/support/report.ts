/**
 * How every benchmark judges and shows its figures: a table for a person on standard output, and
 * `build/bench/NAME.json` for machines.
 *
 * - A figure is the median over its rounds; its spread is half the distance between its quartiles.
 * - A target that compares ours with the peer's, or with the limit, is judged by the ratio of each
 *   round, so that what slows down a whole round does not count. It is met when the median of the
 *   ratios less their spread meets it; a target in the figure's own unit likewise.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** One value a round, in the order of the rounds. */
export type Rounds = readonly number[];

/** What a figure of ours has to be. */
export interface Target {
  readonly is: "at most" | "at least";
  /** A factor if `times` is there, else a value in the figure's unit. */
  readonly value: number;
  readonly times?: "peer" | "limit";
  /** So little of ours that it meets the target whatever the others need, in the figure's unit. */
  readonly negligible?: number;
}

/** A figure as it was measured. */
export interface Figure {
  readonly figure: string;
  readonly unit: string;
  readonly ours: Rounds;
  /** Another program that does the same. */
  readonly peer?: Rounds;
  /** What cannot be beaten, such as the kernel's own responder. */
  readonly limit?: Rounds;
  /** All of them have to be met; none: the figure is only shown. */
  readonly targets: readonly Target[];
}

/** A figure as it is written to the JSON file. */
export interface Row {
  readonly figure: string;
  readonly unit: string;
  readonly ours: number;
  readonly peer: number | null;
  readonly limit: number | null;
  /** For people; null when there is none. */
  readonly target: string | null;
  /** Whether ours meets the target; true when there is none. */
  readonly ok: boolean;
  readonly rounds: number;
  readonly spread: Readonly<Record<Side, number | null>>;
  /** Median and spread of ours divided by the others', round by round. */
  readonly ratio: Readonly<Record<"peer" | "limit", Estimate | null>>;
}

/** Who a value is of. */
export type Side = "ours" | "peer" | "limit";

/** A median and half the distance between the quartiles. */
export interface Estimate {
  readonly median: number;
  readonly spread: number;
}

function quantile(sorted: Rounds, share: number): number {
  const at = (sorted.length - 1) * share;
  const below = sorted[Math.floor(at)] ?? NaN;
  const above = sorted[Math.ceil(at)] ?? NaN;
  return below === above ? below : below + (above - below) * (at - Math.floor(at));
}

/** Median and spread of rounds; NaN when there is none. */
export function estimate(rounds: Rounds): Estimate {
  const sorted = rounds.toSorted((a, b) => a - b);
  const median = quantile(sorted, 0.5);
  return { median, spread: (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / 2 };
}

/** Ours divided by the other's, round by round. @throws RangeError when the rounds do not match */
function ratios(ours: Rounds, other: Rounds): Rounds {
  if (ours.length !== other.length)
    throw new RangeError(`${ours.length} rounds of ours against ${other.length}`);
  // Nothing against nothing is the same.
  return ours.map((value, i) => (value === other[i] ? 1 : value / (other[i] ?? NaN)));
}

function meets({ is, value }: Target, { median, spread }: Estimate): boolean {
  return is === "at most" ? median - spread <= value : median - spread >= value;
}

function isMet(target: Target, figure: Figure): boolean {
  const { times, negligible } = target;
  if (negligible !== undefined && estimate(figure.ours).median <= negligible) return true;
  if (times === undefined) return meets(target, estimate(figure.ours));
  const other = figure[times];
  return other !== undefined && meets(target, estimate(ratios(figure.ours, other)));
}

function describeTarget({ is, value, times, negligible }: Target): string {
  const bound = `${is === "at most" ? "≤" : "≥"} ${value}`;
  const text = times === undefined ? bound : `${bound} × ${times}`;
  return negligible === undefined ? text : `${text} or ≤ ${negligible}`;
}

/** Judges a figure. */
export function judge(figure: Figure): Row {
  const { ours, peer, limit, targets } = figure;
  const of = (rounds: Rounds | undefined): Estimate | null =>
    rounds === undefined ? null : estimate(rounds);
  const against = (rounds: Rounds | undefined): Estimate | null =>
    // what the other one did in fewer rounds stands beside ours and is not compared with it
    rounds?.length === ours.length ? estimate(ratios(ours, rounds)) : null;
  const [mine, theirs, best] = [estimate(ours), of(peer), of(limit)];
  return {
    figure: figure.figure,
    unit: figure.unit,
    ours: mine.median,
    peer: theirs?.median ?? null,
    limit: best?.median ?? null,
    target: targets.length === 0 ? null : targets.map(describeTarget).join(" and "),
    ok: targets.every((target) => isMet(target, figure)),
    rounds: ours.length,
    spread: { ours: mine.spread, peer: theirs?.spread ?? null, limit: best?.spread ?? null },
    ratio: { peer: against(peer), limit: against(limit) },
  };
}

function digits(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const magnitude = Math.abs(value);
  const fraction = magnitude >= 100 ? 0 : magnitude >= 10 ? 1 : magnitude >= 0.1 ? 2 : 4;
  return value.toLocaleString("en", { maximumFractionDigits: fraction });
}

function cell(median: number | null, spread: number | null, rounds: number): string {
  if (median === null) return "";
  // Of ratios to nothing there is no spread.
  const shown = rounds > 1 && spread !== null && Number.isFinite(spread);
  return shown ? `${digits(median)} ± ${digits(spread)}` : digits(median);
}

function ratioCell({ ratio, rounds }: Row): string {
  const [peer, limit] = [ratio.peer, ratio.limit].map((each) =>
    each === null ? "" : cell(each.median, each.spread, rounds),
  );
  return [peer, limit].map((text) => text ?? "").join(" / ");
}

const HEADS = [
  "figure",
  "unit",
  "ours",
  "peer",
  "limit",
  "ours/peer / ours/limit",
  "target",
  "met",
];

/** Lays rows out as a table; medians with the spread behind ±. */
export function formatTable(rows: readonly Row[]): string {
  const lines = [
    HEADS,
    ...rows.map((row) => [
      row.figure,
      row.unit,
      cell(row.ours, row.spread.ours, row.rounds),
      cell(row.peer, row.spread.peer, row.rounds),
      cell(row.limit, row.spread.limit, row.rounds),
      ratioCell(row),
      row.target ?? "",
      row.target === null ? "" : row.ok ? "yes" : "NO",
    ]),
  ];
  const widths = HEADS.map((_head, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0)));
  return lines
    .map((line) => line.map((text, i) => text.padEnd(widths[i] ?? 0)).join("  "))
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
}

const FOLDER = join(import.meta.dirname, "../../build/bench");

/** Judges figures, prints the table and writes `build/bench/NAME.json`. */
export function report(name: string, figures: readonly Figure[]): void {
  const rows = figures.map(judge);
  const file = join(FOLDER, `${name}.json`);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(rows, null, 2)}\n`);
  const rounds = [...new Set(rows.map((row) => row.rounds))].join(", ");
  process.stdout.write(
    `${formatTable(rows)}medians ± spread (half the distance between the quartiles) over ${rounds} rounds\n`,
  );
}
