import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { address } from "../../../packet/address/address.ts";
import {
  bucketOf,
  ClaimTable,
  compareClaims,
  makeClaim,
  rankOf,
  type Claim,
  type ClaimFields,
} from "../../../speaker/claims.ts";
import { DigestSum, EMPTY_DIGEST } from "../../../speaker/digest.ts";
import { claim as anyClaim } from "./arbitraries.ts";

const A = "0a".repeat(16);
const B = "0b".repeat(16);
const vip = address("192.0.2.10");
const other = address("2001:db8::10");

function claim(patch: Partial<ClaimFields> = {}): Claim {
  const fields = { address: vip, life: A, version: 1, term: 1 };
  return makeClaim({ ...fields, firm: false, giving: false, released: false, ...patch });
}

for (const { name, better, worse } of [
  {
    name: "one that does not give stands above a giver, whatever the rest",
    better: claim(),
    worse: claim({ giving: true, firm: true, term: 9 }),
  },
  {
    name: "a firm one stands above a higher term",
    better: claim({ firm: true }),
    worse: claim({ term: 9 }),
  },
  {
    name: "of equally firm ones the higher term stands above",
    better: claim({ term: 2 }),
    worse: claim(),
  },
]) {
  test(name, () => {
    const [a, b] = [
      { claim: better, node: "x" },
      { claim: worse, node: "y" },
    ];
    expect(compareClaims(a, b, rankOf)).toBeLessThan(0);
    expect(compareClaims(b, a, rankOf)).toBeGreaterThan(0);
  });
}

test("of equal terms the lower rank stands above, and of equal ranks the lower name", () => {
  const [a, b] = [
    { claim: claim(), node: "a" },
    { claim: claim(), node: "b" },
  ];
  const byRank = (node: string) => (node === "b" ? "0" : "1");
  expect(compareClaims(b, a, byRank)).toBeLessThan(0);
  expect(compareClaims(a, b, () => "same")).toBeLessThan(0);
});

test("the order of claims is total and agrees with itself (I3)", () => {
  const held = fc.record({ claim: anyClaim, node: fc.constantFrom("a", "b", "c", "d") });
  fc.assert(
    fc.property(held, held, held, (a, b, c) => {
      const compare = (x: typeof a, y: typeof a) =>
        Math.sign(
          compareClaims(x, { ...y, claim: { ...y.claim, address: x.claim.address } }, rankOf),
        );
      expect(
        compare(a, b) + compare(b, { ...a, claim: { ...a.claim, address: b.claim.address } }),
      ).toBe(0);
      if (compare(a, b) < 0 && compare(b, c) < 0) expect(compare(a, c)).toBeLessThanOrEqual(0);
    }),
  );
});

test("records merge to the same table in any order", () => {
  // One owner never writes two records of one version.
  const unique = fc.uniqueArray(anyClaim, {
    maxLength: 30,
    selector: (c) => `${c.life}/${c.address}/${c.version}`,
  });
  fc.assert(
    fc.property(unique, (claims) => {
      const [forth, back] = [new ClaimTable(), new ClaimTable()];
      for (const one of claims) forth.merge(one);
      for (const one of claims.toReversed()) back.merge(one);
      for (const life of [A, B]) {
        expect(forth.digest(life)).toEqual(back.digest(life));
        expect(forth.buckets(life)).toEqual(back.buckets(life));
        expect(forth.count(life)).toBe(back.count(life));
      }
      for (const one of claims) expect(forth.term(one.address)).toBe(back.term(one.address));
    }),
  );
});

test("the digest of a set is the sum of its claims, tombstones left out", () => {
  const table = new ClaimTable();
  const [first, second] = [claim(), claim({ address: other, version: 2 })];
  for (const one of [first, second]) table.merge(one);
  const sum = new DigestSum();
  sum.add(first.digest);
  sum.add(second.digest);
  expect(table.digest(A)).toEqual(sum.value());
  table.merge(claim({ version: 3, released: true }));
  table.merge(claim({ address: other, version: 4, released: true }));
  expect(table.digest(A)).toEqual(EMPTY_DIGEST);
  expect(table.count(A)).toBe(0);
});

test("an older version, or the same again, is no news", () => {
  const table = new ClaimTable();
  expect(table.merge(claim({ version: 2 }))).toBe(true);
  expect(table.merge(claim({ version: 2 }))).toBe(false);
  expect(table.merge(claim({ version: 1, term: 9 }))).toBe(false);
  expect(table.held(A, vip)?.version).toBe(2);
});

test("a claim that comes after its release stays away", () => {
  const table = new ClaimTable();
  table.merge(claim({ version: 2, released: true }));
  expect(table.merge(claim({ version: 1 }))).toBe(false);
  expect(table.on(vip)).toEqual([]);
  expect(table.held(A, vip)).toBeUndefined();
});

test("the highest term of an address outlives release and restart", () => {
  const table = new ClaimTable();
  table.merge(claim({ term: 4 }));
  table.merge(claim({ life: B, term: 6 }));
  expect(table.on(vip)).toHaveLength(2);
  table.merge(claim({ version: 2, term: 4, released: true }));
  expect(table.void(B)).toEqual([vip]);
  expect(table.on(vip)).toEqual([]);
  expect(table.term(vip)).toBe(6);
  table.forget(vip);
  expect(table.term(vip)).toBe(0);
});

test("the whole table's digest follows who counts", () => {
  const table = new ClaimTable();
  table.merge(claim());
  expect(table.table()).toEqual(EMPTY_DIGEST);
  table.setCounted(A, true);
  expect(table.table()).toEqual(table.digest(A));
  table.merge(claim({ address: other, version: 2 }));
  table.merge(claim({ life: B }));
  expect(table.table()).toEqual(table.digest(A));
  table.setCounted(A, false);
  expect(table.table()).toEqual(EMPTY_DIGEST);
});

test("ten thousand addresses spread over the buckets", () => {
  const counts = new Array<number>(64).fill(0);
  for (let i = 0; i < 10_000; i++) {
    const bucket = bucketOf(address(`10.0.${i >> 8}.${i & 255}`));
    counts[bucket] = (counts[bucket] ?? 0) + 1;
  }
  expect(Math.min(...counts)).toBeGreaterThan(100);
  expect(Math.max(...counts)).toBeLessThan(220);
});
