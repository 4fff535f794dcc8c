import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import { address, type Address } from "../../../packet/address/address.ts";
import {
  LinkedCandidacies,
  linkExclusions,
  type Allowance,
  type Reach,
} from "../../../speaker/candidacy.ts";

const VIP = address("192.0.2.80");
const LAN = { name: "eth0", prefixes: ["192.0.2.0/24", "2001:db8::/64"] };
const OTHER = { name: "eth1", prefixes: ["198.51.100.0/24"] };
const nodes = ["a", "b", "c"];

function candidacies(links: Record<string, Reach[]>, more: Partial<Allowance> = {}) {
  const all = new LinkedCandidacies("a");
  all.set({ address: VIP, ranked: nodes, ...more });
  for (const [node, reach] of Object.entries(links)) all.setLinks(node, reach);
  return all;
}

const heirs = (all: LinkedCandidacies, of: Address = VIP): string[] =>
  [0, 1, 2, 3].flatMap((place) => all.get(of)?.heir(place) ?? []);

describe("candidates by their links", () => {
  for (const { name, links, more, able, usable, excluded } of [
    { name: "of unknown links all count", links: {}, able: nodes, usable: true, excluded: {} },
    {
      name: "who is on the address's network goes before all others",
      links: { a: [OTHER], b: [LAN], c: [OTHER, LAN] },
      able: ["b", "c"],
      usable: false,
      excluded: { a: "NoUsableInterface" },
    },
    {
      name: "nobody is on it: every link counts, but there has to be one",
      links: { a: [OTHER], b: [], c: [OTHER] },
      able: ["a", "c"],
      usable: true,
      excluded: { b: "NoUsableInterface" },
    },
    {
      name: "only what the pool allows counts",
      links: { a: [LAN], b: [OTHER, LAN], c: [OTHER] },
      more: { interfaces: ["eth1"] },
      able: ["b", "c"],
      usable: false,
      excluded: { a: "InterfaceNotSelected" },
    },
    {
      name: "a prefix that is none holds nothing",
      links: { a: [{ name: "eth0", prefixes: ["nonsense"] }], b: [LAN], c: [] },
      able: ["b"],
      usable: false,
      excluded: { a: "NoUsableInterface", c: "NoUsableInterface" },
    },
  ] as {
    name: string;
    links: Record<string, Reach[]>;
    more?: Partial<Allowance>;
    able: string[];
    usable: boolean;
    excluded: Record<string, string>;
  }[])
    test(name, () => {
      const all = candidacies(links, more);
      expect(heirs(all)).toEqual(able);
      expect(all.get(VIP)?.usable).toBe(usable);
      for (const node of nodes) expect(all.get(VIP)?.includes(node)).toBe(able.includes(node));
      const found = linkExclusions({ address: VIP, ranked: nodes, ...more }, (node) => links[node]);
      expect(Object.fromEntries(found)).toEqual(excluded);
    });

  test("a change touches only the addresses that it decides about", () => {
    const all = candidacies({ a: [LAN], b: [LAN] });
    const V6 = address("2001:db8::80");
    all.set({ address: V6, ranked: ["b", "c"] });
    expect(all.setLinks("b", [LAN])).toEqual([]);
    expect(all.setLinks("b", [{ name: "eth0", prefixes: ["192.0.2.0/24"] }])).toEqual([V6]);
    expect(all.setLinks("d", [])).toEqual([]);
    expect(all.setLinks("b", [])).toEqual([VIP, V6]);
    expect(heirs(all)).toEqual(["a"]);
    all.delete(VIP);
    expect(all.get(VIP)).toBeUndefined();
    expect([...all.addresses()]).toEqual([V6]);
  });

  test("agrees with what is found out from nothing", () => {
    const links = fc.array(fc.constantFrom(LAN, OTHER), { maxLength: 2 });
    const change = fc.tuple(fc.constantFrom(...nodes), links);
    fc.assert(
      fc.property(fc.array(change, { maxLength: 12 }), (changes) => {
        const all = candidacies({});
        const known = new Map<string, Reach[]>();
        for (const [node, reach] of changes) {
          all.setLinks(node, reach);
          known.set(node, reach);
          const excluded = linkExclusions({ address: VIP, ranked: nodes }, (name) =>
            known.get(name),
          );
          // Of whom nothing is known it counts as a link somewhere else.
          const isNear = [...known.values()].some((each) => each.includes(LAN));
          const able = nodes.filter((name) => !excluded.has(name) && (known.has(name) || !isNear));
          expect(heirs(all)).toEqual(able);
        }
      }),
    );
  });
});
