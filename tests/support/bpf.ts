import {
  BPF,
  BPF_VLAN_TAG,
  BPF_VLAN_TAG_PRESENT,
  type BpfInstruction,
} from "../../packet/wire/bpf.ts";

/** What the kernel knows about a frame beside its octets. */
export interface FrameFacts {
  /** The IEEE 802.1Q tag that it took out of the frame. */
  readonly vlanTag?: number;
}

/**
 * Runs a classic BPF program as the kernel does, and counts the instructions that it took.
 * @throws Error where the kernel's checker would have refused the program.
 */
export function runBpf(
  program: readonly BpfInstruction[],
  frame: Uint8Array,
  facts: FrameFacts = {},
): { readonly keep: number; readonly steps: number } {
  let accumulator = 0;
  let steps = 0;
  for (let pc = 0; ; pc++) {
    const instruction = program[pc];
    if (instruction === undefined) throw new Error(`ran off the program at ${pc}`);
    steps++;
    const { code, jt, jf, k } = instruction;
    if (code === BPF.RET) return { keep: k, steps };
    if (code === BPF.JA) pc += k;
    else if (code === BPF.AND) accumulator = (accumulator & k) >>> 0;
    else if (code === BPF.JEQ) pc += accumulator === k ? jt : jf;
    else if (code === BPF.JGT) pc += accumulator > k ? jt : jf;
    else if (code === BPF.JGE) pc += accumulator >= k ? jt : jf;
    else {
      const loaded = load(code, k, frame, facts);
      if (loaded === undefined) return { keep: 0, steps };
      accumulator = loaded;
    }
  }
}

/** A load beyond the end of the frame ends the program and refuses the frame: undefined. */
function load(code: number, k: number, frame: Uint8Array, facts: FrameFacts): number | undefined {
  if (k === BPF_VLAN_TAG_PRESENT) return facts.vlanTag === undefined ? 0 : 1;
  if (k === BPF_VLAN_TAG) return facts.vlanTag ?? 0;
  const size = code === BPF.LD_W ? 4 : code === BPF.LD_H ? 2 : code === BPF.LD_B ? 1 : 0;
  if (size === 0) throw new Error(`no such instruction: ${code}`);
  if (k + size > frame.length) return undefined;
  return frame.subarray(k, k + size).reduce((number, octet) => number * 256 + octet, 0);
}

/** Checks what the kernel checks before it takes a program (bpf_check_classic). */
export function checkBpf(program: readonly BpfInstruction[]): void {
  if (program.length === 0 || program.length > 4096) throw new Error(`length ${program.length}`);
  for (const [i, { code, jt, jf, k }] of program.entries()) {
    const fits = (value: number, most: number): boolean =>
      Number.isInteger(value) && value >= 0 && value <= most;
    if (!fits(jt, 255) || !fits(jf, 255) || !fits(k, 0xffffffff))
      throw new Error(`operand of ${i}`);
    const reach = code === BPF.JA ? k : Math.max(jt, jf);
    if (i + 1 + reach >= program.length && code !== BPF.RET) throw new Error(`jump of ${i}`);
  }
  if (program.at(-1)?.code !== BPF.RET) throw new Error("the end is no return");
}
