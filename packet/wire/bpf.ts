/**
 * An assembler for classic BPF, the filter language of packet sockets: instructions with labels go
 * in, what the kernel takes comes out. Jumps only go forward, which is what makes every program
 * end; a conditional jump reaches 255 instructions, so that a far one is given an unconditional
 * jump beside it to go on.
 *
 * @see "The BSD Packet Filter", McCanne and Jacobson, 1993; linux/filter.h
 */

/** Opcodes, named as in linux/bpf_common.h. */
export const BPF = {
  /** A = the big-endian word, half-word or octet at offset k of the frame. */
  LD_W: 0x20,
  LD_H: 0x28,
  LD_B: 0x30,
  /** A = A & k. */
  AND: 0x54,
  /** Goes on k instructions further. */
  JA: 0x05,
  /** Goes to jt if A == k, A > k, A >= k (without sign), else to jf. */
  JEQ: 0x15,
  JGT: 0x25,
  JGE: 0x35,
  /** Ends with the number of octets to keep: 0 refuses the frame. */
  RET: 0x06,
} as const;

/** Most instructions that the kernel takes (BPF_MAXINSNS). */
export const BPF_MAX_INSTRUCTIONS = 4096;
/** Octets of an instruction (struct sock_filter). */
export const BPF_INSTRUCTION_LENGTH = 8;
/** Offset of the kernel's own facts about a frame (SKF_AD_OFF), as an unsigned number. */
export const BPF_ANCILLARY = 0xfffff000;
/** Ancillary: the IEEE 802.1Q tag that was taken out of the frame (SKF_AD_VLAN_TAG). */
export const BPF_VLAN_TAG = BPF_ANCILLARY + 44;
/** Ancillary: whether there was one (SKF_AD_VLAN_TAG_PRESENT). */
export const BPF_VLAN_TAG_PRESENT = BPF_ANCILLARY + 48;

/** An instruction as the kernel has it. */
export interface BpfInstruction {
  readonly code: number;
  /** Instructions to skip when the condition holds, 0 to 255. */
  readonly jt: number;
  /** Instructions to skip when it does not. */
  readonly jf: number;
  /** Operand, 0 to 4294967295. */
  readonly k: number;
}

/** A program as the kernel has it. */
export type BpfProgram = readonly BpfInstruction[];

/** A place in a program that can be jumped to; see {@link BpfAssembler.place}. */
export type BpfLabel = number;

type Conditional = typeof BPF.JEQ | typeof BPF.JGT | typeof BPF.JGE;
type Line =
  | { readonly kind: "plain"; readonly code: number; readonly k: number }
  | { readonly kind: "jump"; readonly to: BpfLabel }
  | {
      readonly kind: "branch";
      readonly code: Conditional;
      readonly k: number;
      /** Undefined: the next instruction. */
      readonly then: BpfLabel | undefined;
      readonly otherwise: BpfLabel | undefined;
    }
  | { readonly kind: "label"; readonly label: BpfLabel };

const FARTHEST = 255;

/** Collects a program line by line; {@link assemble} turns it into instructions. */
export class BpfAssembler {
  readonly #lines: Line[] = [];
  #labels = 0;

  /** Makes a label, to be placed later and once: jumps only go forward. */
  label(): BpfLabel {
    return this.#labels++;
  }

  /** Gives the next instruction a label. */
  place(label: BpfLabel): void {
    this.#lines.push({ kind: "label", label });
  }

  /** Adds an instruction that loads, computes or ends. */
  add(code: number, k: number): void {
    this.#lines.push({ kind: "plain", code, k });
  }

  /** Goes on at a label. */
  jump(to: BpfLabel): void {
    this.#lines.push({ kind: "jump", to });
  }

  /** Compares A with k, and goes on at either label; without one, at the next instruction. */
  branch(code: Conditional, k: number, then?: BpfLabel, otherwise?: BpfLabel): void {
    this.#lines.push({ kind: "branch", code, k, then, otherwise });
  }

  /**
   * Turns the lines into instructions.
   * @throws RangeError when a label was not placed after every jump to it.
   */
  assemble(): BpfInstruction[] {
    const lines = this.#lines;
    // A branch grows by a jump for each far target. Growing one may move the target of another
    // beyond reach, so it is repeated until nothing grows any more; nothing ever shrinks.
    const far = new Map<Line, { then: boolean; otherwise: boolean }>();
    for (;;) {
      const { starts, labels } = layOut(lines, far, this.#labels);
      if (!findFar(lines, far, starts, labels)) return emit(lines, far, starts, labels);
    }
  }
}

type Far = Map<Line, { then: boolean; otherwise: boolean }>;

function sizeOf(line: Line, far: Far): number {
  if (line.kind === "label") return 0;
  const marks = far.get(line);
  return 1 + Number(marks?.then ?? false) + Number(marks?.otherwise ?? false);
}

function layOut(
  lines: readonly Line[],
  far: Far,
  count: number,
): { starts: number[]; labels: number[] } {
  const labels = new Array<number>(count).fill(-1);
  const starts: number[] = [];
  let position = 0;
  for (const line of lines) {
    starts.push(position);
    if (line.kind === "label") labels[line.label] = position;
    position += sizeOf(line, far);
  }
  return { starts, labels };
}

/** Marks the targets that are out of reach as they lie now; tells whether there were new ones. */
function findFar(lines: readonly Line[], far: Far, starts: number[], labels: number[]): boolean {
  let found = false;
  for (const [i, line] of lines.entries()) {
    if (line.kind !== "branch") continue;
    const after = (starts[i] ?? 0) + 1;
    const marks = far.get(line) ?? { then: false, otherwise: false };
    for (const side of ["then", "otherwise"] as const) {
      const target = line[side];
      if (target === undefined || marks[side]) continue;
      if (distance(labels, target, after) <= FARTHEST) continue;
      far.set(line, Object.assign(marks, { [side]: true }));
      found = true;
    }
  }
  return found;
}

function distance(labels: readonly number[], target: BpfLabel, from: number): number {
  const steps = (labels[target] ?? -1) - from;
  if (steps < 0) throw new RangeError(`label ${target} is not placed after a jump to it`);
  return steps;
}

function emit(
  lines: readonly Line[],
  far: Far,
  starts: readonly number[],
  labels: readonly number[],
): BpfInstruction[] {
  const program: BpfInstruction[] = [];
  for (const [i, line] of lines.entries()) {
    const after = (starts[i] ?? 0) + 1;
    if (line.kind === "plain") program.push({ code: line.code, jt: 0, jf: 0, k: line.k });
    else if (line.kind === "jump") program.push(jumpTo(distance(labels, line.to, after)));
    else if (line.kind === "branch")
      program.push(...emitBranch(line, far.get(line), after, labels));
  }
  return program;
}

function jumpTo(k: number): BpfInstruction {
  return { code: BPF.JA, jt: 0, jf: 0, k };
}

/** The branch, and behind it a jump for each far target; falling through skips those. */
function emitBranch(
  line: Extract<Line, { kind: "branch" }>,
  marks: { then: boolean; otherwise: boolean } | undefined,
  after: number,
  labels: readonly number[],
): BpfInstruction[] {
  const jumps: BpfInstruction[] = [];
  const skip = Number(marks?.then ?? false) + Number(marks?.otherwise ?? false);
  const offset = (target: BpfLabel | undefined, isFar: boolean): number => {
    if (target === undefined) return skip;
    if (!isFar) return distance(labels, target, after);
    jumps.push(jumpTo(distance(labels, target, after + jumps.length + 1)));
    return jumps.length - 1;
  };
  const jt = offset(line.then, marks?.then ?? false);
  const jf = offset(line.otherwise, marks?.otherwise ?? false);
  return [{ code: line.code, jt, jf, k: line.k }, ...jumps];
}

/**
 * Encodes a program as an array of struct sock_filter.
 * @param littleEndian the order of octets of the machine that the kernel runs on.
 */
export function encodeBpf(program: BpfProgram, littleEndian: boolean): Uint8Array<ArrayBuffer> {
  const octets = new Uint8Array(program.length * BPF_INSTRUCTION_LENGTH);
  const view = new DataView(octets.buffer);
  for (const [i, { code, jt, jf, k }] of program.entries()) {
    const offset = i * BPF_INSTRUCTION_LENGTH;
    view.setUint16(offset, code, littleEndian);
    view.setUint8(offset + 2, jt);
    view.setUint8(offset + 3, jf);
    view.setUint32(offset + 4, k, littleEndian);
  }
  return octets;
}

/** Whether this machine stores numbers with the low octet first. */
export function isLittleEndian(): boolean {
  return new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
}

/** Writes a program as `tcpdump -ddd` does without its count: one instruction a line, decimal. */
export function formatBpf(program: BpfProgram): string {
  return program.map(({ code, jt, jf, k }) => `${code} ${jt} ${jf} ${k}`).join("\n");
}
