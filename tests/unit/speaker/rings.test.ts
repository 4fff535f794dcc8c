import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { Rings } from "../../../speaker/rings.ts";

function ringsOf(names: readonly string[]): Rings {
  const rings = new Rings();
  for (const name of names) rings.add(name);
  return rings;
}

const nodes = (count: number) => Array.from({ length: count }, (_, i) => `node-${i}`);

test("nobody is its own neighbour, and nobody is chosen twice", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(500), { minLength: 1, maxLength: 40 }), (ids) => {
      const names = ids.map((id) => `node-${id}`);
      const rings = ringsOf(names);
      for (const name of names) {
        const neighbours = rings.neighbours(name);
        expect(neighbours).not.toContain(name);
        expect(new Set(neighbours).size).toBe(neighbours.length);
        expect(neighbours.length).toBe(Math.min(4, names.length - 1));
      }
    }),
  );
});

test("five nodes are all each other's neighbours", () => {
  const names = nodes(5);
  const rings = ringsOf(names);
  for (const name of names)
    expect(rings.neighbours(name).toSorted()).toEqual(names.filter((n) => n !== name));
});

test("of a thousand nodes nobody is watched by more than a handful", () => {
  const names = nodes(1000);
  const rings = ringsOf(names);
  const edges = new Map<string, Set<string>>(names.map((name) => [name, new Set()]));
  for (const name of names) {
    for (const other of rings.neighbours(name)) {
      edges.get(name)?.add(other);
      edges.get(other)?.add(name);
    }
  }
  const degrees = [...edges.values()].map(({ size }) => size);
  expect(Math.min(...degrees)).toBe(4);
  expect(Math.max(...degrees)).toBeLessThanOrEqual(6);
});

test("news reach all of a thousand nodes within ten hops", () => {
  const names = nodes(1000);
  const rings = ringsOf(names);
  let front = new Set(["node-0"]);
  const reached = new Set(front);
  for (let hop = 0; hop < 10; hop++) {
    front = new Set(
      [...front].flatMap((name) => rings.neighbours(name)).filter((n) => !reached.has(n)),
    );
    for (const name of front) reached.add(name);
  }
  expect(reached.size).toBe(1000);
});

test("the order in which names come makes no difference, and one that left is gone", () => {
  const names = nodes(30);
  const [forth, back] = [ringsOf([...names, "gone"]), ringsOf(names.toReversed())];
  forth.remove("gone");
  forth.remove("never there");
  for (const name of names) expect(forth.neighbours(name)).toEqual(back.neighbours(name));
  expect(forth.has("gone")).toBe(false);
});

test("a name that is not on the rings has neighbours where it would be", () => {
  const rings = ringsOf(nodes(10));
  const before = rings.neighbours("node-77");
  rings.add("node-77");
  expect(rings.neighbours("node-77")).toEqual(before);
});
