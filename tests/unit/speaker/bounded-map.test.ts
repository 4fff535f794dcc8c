import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { BoundedMap } from "../../../speaker/bounded-map.ts";

test("holds no more than its limit, and always what was put in last", () => {
  const map = new BoundedMap<string, number>(3);
  fc.assert(
    fc.property(fc.string({ maxLength: 2 }), fc.nat(), (key, value) => {
      map.set(key, value);
      expect(map.get(key)).toBe(value);
      expect(map.size).toBeLessThanOrEqual(3);
    }),
  );
});

test("replacing an entry of a full map forgets none of the others", () => {
  const map = new BoundedMap<string, number>(2).set("a", 1).set("b", 2).set("b", 3);
  expect([...map]).toEqual([
    ["a", 1],
    ["b", 3],
  ]);
});

test("makes what it does not have, once, also when that is nothing", () => {
  const map = new BoundedMap<string, number | undefined>(2);
  let made = 0;
  const make = () => {
    made++;
    return undefined;
  };
  expect(map.of("a", make)).toBeUndefined();
  expect(map.of("a", make)).toBeUndefined();
  expect(made).toBe(1);
});
