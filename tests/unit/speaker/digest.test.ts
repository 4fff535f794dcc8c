import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { digestOf, DigestSum, EMPTY_DIGEST, sameDigest } from "../../../speaker/digest.ts";

const texts = fc.array(fc.string(), { maxLength: 30 });

test("the order in which elements are added does not matter", () => {
  fc.assert(
    fc.property(texts, (list) => {
      const [forth, back] = [new DigestSum(), new DigestSum()];
      for (const text of list) forth.add(digestOf(text));
      for (const text of list.toReversed()) back.add(digestOf(text));
      expect(forth.value()).toEqual(back.value());
    }),
  );
});

test("what was added and removed leaves nothing behind", () => {
  fc.assert(
    fc.property(texts, (list) => {
      const sum = new DigestSum();
      for (const text of list) sum.add(digestOf(text));
      for (const text of list) sum.remove(digestOf(text));
      expect(sum.value()).toEqual(EMPTY_DIGEST);
    }),
  );
});

test("sums are those of 64-bit numbers, with carry and borrow", () => {
  const number = ({ high, low }: { high: number; low: number }) =>
    (BigInt(high) << 32n) | BigInt(low);
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => {
      const sum = new DigestSum();
      sum.add(digestOf(a));
      sum.add(digestOf(b));
      const expected = BigInt.asUintN(64, number(digestOf(a)) + number(digestOf(b)));
      expect(number(sum.value())).toBe(expected);
      sum.remove(digestOf(a));
      expect(sameDigest(sum.value(), digestOf(b))).toBe(true);
    }),
  );
});

test("a hundred thousand texts that differ in one place have different digests", () => {
  const seen = new Set<string>();
  for (let i = 0; i < 100_000; i++) {
    const { high, low } = digestOf(`life/192.0.2.1/${i}/1/0`);
    seen.add(`${high}/${low}`);
  }
  expect(seen.size).toBe(100_000);
});

test("half of the bits change with one character", () => {
  let changed = 0;
  for (let i = 0; i < 1000; i++) {
    const [a, b] = [digestOf(`record ${i} x`), digestOf(`record ${i} y`)];
    for (let bits = (a.high ^ b.high) >>> 0; bits > 0; bits >>>= 1) changed += bits & 1;
    for (let bits = (a.low ^ b.low) >>> 0; bits > 0; bits >>>= 1) changed += bits & 1;
  }
  expect(changed / 1000).toBeGreaterThan(30);
  expect(changed / 1000).toBeLessThan(34);
});

test("pairs of records that swap a field do not cancel out", () => {
  const sum = (...of: string[]) => {
    const total = new DigestSum();
    for (const text of of) total.add(digestOf(text));
    return total.value();
  };
  expect(sum("a/192.0.2.1/2", "b/192.0.2.2/1")).not.toEqual(sum("a/192.0.2.1/1", "b/192.0.2.2/2"));
});
