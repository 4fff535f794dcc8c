import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  BPF,
  BpfAssembler,
  encodeBpf,
  formatBpf,
  isLittleEndian,
  type BpfLabel,
} from "../../../../packet/wire/bpf.ts";
import { checkBpf, runBpf } from "../../../support/bpf.ts";
import { toHex } from "../../../support/hex.ts";

/** A program that compares the first word with 7, with `padding` instructions before the targets. */
function comparison(
  padding: number,
  code: typeof BPF.JEQ | typeof BPF.JGT | typeof BPF.JGE,
): BpfAssembler {
  const assembler = new BpfAssembler();
  const yes = assembler.label();
  const no = assembler.label();
  assembler.add(BPF.LD_W, 0);
  assembler.branch(code, 7, yes, no);
  for (let i = 0; i < padding; i++) assembler.add(BPF.AND, 0);
  assembler.place(no);
  assembler.add(BPF.RET, 0);
  for (let i = 0; i < padding; i++) assembler.add(BPF.AND, 0);
  assembler.place(yes);
  assembler.add(BPF.RET, 1);
  return assembler;
}

describe("branches", () => {
  test.each([0, 1, 254, 255, 256, 1000])("reach over %i instructions", (padding) => {
    for (const [code, accepted] of [
      [BPF.JEQ, [7]],
      [BPF.JGT, [8, 0xffffffff]],
      [BPF.JGE, [7, 8, 0xffffffff]],
    ] as const) {
      const program = comparison(padding, code).assemble();
      checkBpf(program);
      for (const word of [0, 6, 7, 8, 0xffffffff]) {
        const frame = Uint8Array.of(
          word >>> 24,
          (word >>> 16) & 255,
          (word >>> 8) & 255,
          word & 255,
        );
        expect(runBpf(program, frame).keep).toBe(
          (accepted as readonly number[]).includes(word) ? 1 : 0,
        );
      }
    }
  });

  test("a jump behind a label is the caller's mistake", () => {
    const assembler = new BpfAssembler();
    const back = assembler.label();
    assembler.place(back);
    assembler.add(BPF.RET, 0);
    assembler.jump(back);
    expect(() => assembler.assemble()).toThrow(RangeError);
  });

  test("a jump to a label that was never placed is the caller's mistake", () => {
    const assembler = new BpfAssembler();
    assembler.branch(BPF.JEQ, 1, assembler.label());
    assembler.add(BPF.RET, 0);
    expect(() => assembler.assemble()).toThrow(RangeError);
  });

  test("land where they should, however they lie", () => {
    // A chain of branches, each to a return of its own number, at random distances.
    fc.assert(
      fc.property(fc.array(fc.nat(300), { minLength: 1, maxLength: 12 }), (gaps) => {
        const assembler = new BpfAssembler();
        const targets: BpfLabel[] = gaps.map(() => assembler.label());
        assembler.add(BPF.LD_B, 0);
        for (const [i, target] of targets.entries()) assembler.branch(BPF.JEQ, i, target);
        assembler.add(BPF.RET, 999);
        for (const [i, target] of targets.entries()) {
          for (let gap = gaps[i]!; gap > 0; gap--) assembler.add(BPF.AND, 0);
          assembler.place(target);
          assembler.add(BPF.RET, i);
        }
        const program = assembler.assemble();
        checkBpf(program);
        for (let i = 0; i <= gaps.length; i++) {
          const expected = i < gaps.length ? i : 999;
          expect(runBpf(program, Uint8Array.of(i)).keep).toBe(expected);
        }
      }),
    );
  });
});

test("encodes struct sock_filter in either order of octets", () => {
  const program = [{ code: BPF.JEQ, jt: 1, jf: 2, k: 0x01020304 }];
  expect(toHex(encodeBpf(program, true))).toBe("1500010204030201");
  expect(toHex(encodeBpf(program, false))).toBe("0015010201020304");
  expect(formatBpf(program)).toBe("21 1 2 16909060");
});

test("knows the order of octets of this machine", () => {
  expect(isLittleEndian()).toBe(new Uint8Array(new Uint32Array([1]).buffer)[0] === 1);
});
