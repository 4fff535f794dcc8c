import { describe, expect, test } from "@jest/globals";
import fc from "fast-check";
import {
  formatConflict,
  groupName,
  Occupancy,
  SharingGroup,
  type SharingTerms,
} from "../../../controller/sharing.ts";
import { address } from "../../../packet/address/address.ts";

function terms(key: string, ports: readonly string[], backend = ""): SharingTerms {
  return { key, backend, ports };
}

describe("an address in use", () => {
  const holder = terms("k", ["TCP/80"]);
  for (const { name, first, second, rule } of [
    {
      name: "admits a Service with the same key and another port",
      first: holder,
      second: terms("k", ["TCP/443"]),
      rule: undefined,
    },
    {
      name: "admits the same port of another protocol",
      first: holder,
      second: terms("k", ["UDP/80"]),
      rule: undefined,
    },
    {
      name: "refuses a Service without a key",
      first: holder,
      second: terms("", ["TCP/443"]),
      rule: "notShared",
    },
    {
      name: "refuses everybody when the holder has no key",
      first: terms("", ["TCP/80"]),
      second: terms("k", ["TCP/443"]),
      rule: "notShared",
    },
    {
      name: "refuses two without a key",
      first: terms("", ["TCP/80"]),
      second: terms("", ["TCP/443"]),
      rule: "notShared",
    },
    { name: "refuses another key", first: holder, second: terms("j", ["TCP/443"]), rule: "key" },
    {
      name: "refuses a port that is taken",
      first: holder,
      second: terms("k", ["TCP/443", "TCP/80"]),
      rule: "port",
    },
    {
      name: "admits Local beside Local with one selector",
      first: terms("k", ["TCP/80"], "app=a"),
      second: terms("k", ["TCP/443"], "app=a"),
      rule: undefined,
    },
    {
      name: "refuses Local beside Local with another selector",
      first: terms("k", ["TCP/80"], "app=a"),
      second: terms("k", ["TCP/443"], "app=b"),
      rule: "backend",
    },
    {
      name: "refuses Local beside Cluster",
      first: holder,
      second: terms("k", ["TCP/443"], "app=a"),
      rule: "backend",
    },
    {
      name: "admits Local without a selector beside Cluster",
      first: holder,
      second: terms("k", ["TCP/443"], ""),
      rule: undefined,
    },
  ]) {
    test(name, () => {
      const occupancy = new Occupancy();
      occupancy.set("ns/first", first);
      const conflict = occupancy.conflict("ns/second", second);
      expect(conflict?.rule).toBe(rule);
      if (conflict !== undefined) expect(conflict.holder).toBe("ns/first");
    });
  }

  test("lets a Service that is alone change its terms", () => {
    const occupancy = new Occupancy();
    occupancy.set("ns/a", terms("", ["TCP/80"]));
    expect(occupancy.conflict("ns/a", terms("k", ["TCP/80"], "app=a"))).toBeUndefined();
  });

  test("does not let one of two change its key", () => {
    const occupancy = new Occupancy();
    occupancy.set("ns/a", terms("k", ["TCP/80"]));
    occupancy.set("ns/b", terms("k", ["TCP/81"]));
    expect(occupancy.conflict("ns/a", terms("j", ["TCP/80"]))).toMatchObject({
      rule: "key",
      holder: "ns/b",
    });
  });

  test("frees the ports of a Service that leaves", () => {
    const occupancy = new Occupancy();
    occupancy.set("ns/a", terms("k", ["TCP/80"]));
    occupancy.set("ns/b", terms("k", ["TCP/81"]));
    occupancy.delete("ns/a");
    expect([...occupancy.ports]).toEqual(["TCP/81"]);
    expect([...occupancy.holders]).toEqual(["ns/b"]);
    expect(occupancy.conflict("ns/c", terms("k", ["TCP/80"]))).toBeUndefined();
  });

  for (const rule of ["notShared", "key", "backend", "port"] as const) {
    test(`says in words which rule refused: ${rule}`, () => {
      const text = formatConflict(address("10.0.0.1"), { rule, holder: "ns/a", port: "TCP/80" });
      expect(text).toContain("10.0.0.1 is in use by ns/a");
    });
  }
});

describe("the addresses that carry a key", () => {
  test("have a name that no other key and selector has", () => {
    expect(groupName(terms("a", [], 'b","c'))).not.toBe(groupName(terms('a","b', [], "c")));
  });

  test("give the lowest one without any of the ports, as looking at each of them does", () => {
    const port = fc.constantFrom("TCP/1", "TCP/2", "TCP/3");
    const ports = fc.uniqueArray(port, { maxLength: 3 });
    const step = fc.tuple(fc.constantFrom("add", "free", "remove"), fc.nat(40), ports);
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), ports, (steps, wanted) => {
        const group = new SharingGroup(100n);
        const model = new Map<number, Set<string>>();
        for (const [kind, at, some] of steps) {
          const taken = model.get(at);
          if (kind === "add") {
            group.add(BigInt(at), some);
            model.set(at, new Set([...(taken ?? []), ...some]));
          } else if (kind === "free") {
            group.free(BigInt(at), some);
            for (const each of some) taken?.delete(each);
          } else {
            group.remove(BigInt(at), taken ?? []);
            model.delete(at);
          }
        }
        const fits = [...model]
          .filter(([, taken]) => wanted.every((each) => !taken.has(each)))
          .map(([at]) => at)
          .sort((a, b) => a - b);
        expect(group.lowestFor(wanted)).toBe(fits[0] === undefined ? undefined : BigInt(fits[0]));
        expect(group.isEmpty).toBe(model.size === 0);
      }),
    );
  });
});
