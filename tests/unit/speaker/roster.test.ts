import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { Roster, type MemberRecord } from "../../../speaker/roster.ts";

function member(patch: Partial<MemberRecord> = {}): MemberRecord {
  return {
    name: "alpha",
    epoch: 1,
    life: "0a".repeat(16),
    refutation: 0,
    dead: false,
    revision: 0,
    status: "active",
    deaf: false,
    rebalancing: false,
    endpoints: [],
    links: [],
    keyIds: [],
    ...patch,
  };
}

function rosterOf(...records: MemberRecord[]): Roster {
  const roster = new Roster("self");
  for (const record of records) roster.apply(record, 0);
  return roster;
}

for (const { name, known, news, change, live } of [
  {
    name: "an active member is alive",
    known: undefined,
    news: member(),
    change: "rose",
    live: true,
  },
  {
    name: "a joining one does not count",
    known: undefined,
    news: member({ status: "joining" }),
    change: "content",
    live: false,
  },
  {
    name: "of equal refutations dead beats alive",
    known: member(),
    news: member({ dead: true }),
    change: "fell",
    live: false,
  },
  {
    name: "alive does not beat dead of the same refutation",
    known: member({ dead: true }),
    news: member(),
    change: "none",
    live: false,
  },
  {
    name: "a higher refutation beats death",
    known: member({ dead: true }),
    news: member({ refutation: 1 }),
    change: "rose",
    live: true,
  },
  {
    name: "a death of a lower refutation is old",
    known: member({ refutation: 2 }),
    news: member({ refutation: 1, dead: true }),
    change: "none",
    live: true,
  },
  {
    name: "a later epoch replaces a life",
    known: member(),
    news: member({ epoch: 2, life: "0b".repeat(16) }),
    change: "life",
    live: true,
  },
  {
    name: "a record of an earlier life says nothing",
    known: member({ epoch: 2, life: "0b".repeat(16) }),
    news: member({ refutation: 9, revision: 9 }),
    change: "none",
    live: true,
  },
  {
    name: "one that left is gone",
    known: member(),
    news: member({ status: "left", revision: 1 }),
    change: "fell",
    live: false,
  },
  {
    name: "an older revision says nothing",
    known: member({ revision: 2 }),
    news: member({ revision: 1, deaf: true }),
    change: "none",
    live: true,
  },
  {
    name: "the same life may raise its epoch and keeps its life",
    known: member(),
    news: member({ epoch: 3, revision: 1 }),
    change: "content",
    live: true,
  },
]) {
  test(name, () => {
    const roster = rosterOf(...(known === undefined ? [] : [known]));
    expect(roster.apply(news, 5)).toBe(change);
    expect(roster.isLive("alpha")).toBe(live);
  });
}

test("death and what a member says of itself are merged apart", () => {
  const roster = rosterOf(member({ revision: 5, deaf: true }));
  roster.apply(member({ revision: 3, dead: true }), 1);
  expect(roster.get("alpha")).toMatchObject({ revision: 5, deaf: true, dead: true });
});

test("records merge to the same belief in any order", () => {
  const any = fc.record({
    epoch: fc.integer({ min: 1, max: 2 }),
    refutation: fc.nat(2),
    dead: fc.boolean(),
    revision: fc.nat(2),
  });
  fc.assert(
    fc.property(fc.array(any, { maxLength: 12 }), (list) => {
      // One life an epoch; a revision says one thing only.
      const records = list.map((fields) =>
        member({
          ...fields,
          life: `${fields.epoch}`.padStart(32, "0"),
          deaf: fields.revision === 1,
        }),
      );
      const [forth, back] = [rosterOf(...records), rosterOf(...records.toReversed())];
      expect(forth.get("alpha")).toEqual(back.get("alpha"));
      expect(forth.digest()).toEqual(back.digest());
      expect(forth.liveCount).toBe(back.liveCount);
    }),
  );
});

test("a quorum is more than half of the live and those that died within ten minutes", () => {
  const all = ["a", "b", "c", "d"].map((name) => member({ name, life: name.repeat(32) }));
  const roster = rosterOf(...all);
  expect(roster.isQuorate(0)).toBe(true);
  const [a, b] = all as [MemberRecord, MemberRecord];
  roster.apply({ ...a, dead: true }, 1000);
  expect(roster.isQuorate(1000)).toBe(true);
  roster.apply({ ...b, dead: true }, 1000);
  expect(roster.isQuorate(1000)).toBe(false);
  expect(roster.isQuorate(601_000)).toBe(true);
});

test("one that left counts against no quorum", () => {
  const roster = rosterOf(
    member(),
    member({ name: "beta", life: "0b".repeat(16), status: "left" }),
  );
  expect(roster.isQuorate(0)).toBe(true);
});

test("the claims of a deaf one do not count, though it is alive", () => {
  const roster = rosterOf(member({ deaf: true }));
  expect(roster.isLive("alpha")).toBe(true);
  expect(roster.holds("0a".repeat(16))).toBe(false);
});

test("a life is found by what it is now, not by what it was", () => {
  const roster = rosterOf(member(), member({ epoch: 2, life: "0b".repeat(16) }));
  expect(roster.ofLife("0a".repeat(16))).toBeUndefined();
  expect(roster.ofLife("0b".repeat(16))?.name).toBe("alpha");
});

test("the dead stay where partitions can find them, and go when they are forgotten", () => {
  const roster = rosterOf(member(), member({ name: "beta", life: "0b".repeat(16), dead: true }));
  expect(roster.neighbours("alpha")).toEqual([]);
  expect(roster.idealNeighbours("alpha")).toEqual(["beta"]);
  expect([...roster.dead()]).toEqual(["beta"]);
  roster.forget("beta");
  expect(roster.idealNeighbours("alpha")).toEqual([]);
  expect(roster.size).toBe(1);
});
