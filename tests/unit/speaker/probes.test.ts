import { expect, test } from "@jest/globals";
import type { Address } from "../../../packet/address/address.ts";
import type { MacAddress } from "../../../packet/address/mac.ts";
import type { Action, Context } from "../../../speaker/context.ts";
import { Probes } from "../../../speaker/probes.ts";

const A = "192.0.2.1" as Address;
const FOREIGN = "02:00:00:00:00:99" as MacAddress;
const MEMBER = "02:00:00:00:00:01" as MacAddress;
const nobody = () => false;

/** A speaker that has one other member and knows terms. */
function setUp(term = 0) {
  const actions: Action[] = [];
  const claims = { term: () => term };
  const roster = { records: () => [{ links: [{ mac: MEMBER }] }] };
  const context = { now: 0, actions, claims, roster } as unknown as Context;
  return { context, actions, probes: new Probes(context) };
}

test("an address is due until it was found free, and never once it was in use", () => {
  const { probes, actions } = setUp();
  expect(probes.isDue(A)).toBe(true);
  probes.ask(A, "first-use");
  expect(actions).toEqual([{ type: "probe", address: A, purpose: "first-use" }]);
  expect(probes.isAsked(A)).toBe(true);
  probes.answered(A, { taken: false, heard: true });
  expect(probes.isAsked(A)).toBe(false);
  expect(probes.isDue(A)).toBe(false);
  expect(setUp(1).probes.isDue(A)).toBe(false);
});

test.each([
  { by: FOREIGN, term: 0, conflict: true, retry: 10_000 },
  // who answers without a name is foreign, too
  { by: undefined, term: 0, conflict: true, retry: 10_000 },
  { by: MEMBER, term: 0, conflict: false, retry: 1000 },
  // a stranger that answers for what speakers used before is a rival, and no reason to give it up
  { by: FOREIGN, term: 3, conflict: false, retry: 10_000 },
])("taken by $by at term $term: conflict $conflict", ({ by, term, conflict, retry }) => {
  const { probes } = setUp(term);
  probes.ask(A, "first-use");
  const result = { taken: true, heard: true, ...(by !== undefined && { by }) };
  expect(probes.answered(A, result)).toBe(retry);
  expect(probes.isConflict(A)).toBe(conflict);
  expect(probes.usedBy(A)).toBe(conflict ? by : undefined);
  expect(probes.isDue(A)).toBe(conflict);
});

test("a conflict is probed again after ten seconds, unless a claim waits for it", () => {
  const { context, probes } = setUp();
  probes.answered(A, { taken: true, heard: true, by: FOREIGN });
  expect(probes.nextAt).toBe(10_000);
  context.now = 9_999;
  expect(probes.takeDue(nobody, true)).toEqual([]);
  context.now = 10_000;
  expect(probes.takeDue(nobody, false)).toEqual([]);
  expect(probes.nextAt).toBe(20_000);
  context.now = 20_000;
  expect(probes.takeDue(nobody, true)).toEqual([A]);
  expect(probes.wasAnswered(A)).toBe(false);
  expect(probes.isConflict(A)).toBe(true);

  probes.answered(A, { taken: true, heard: true, by: FOREIGN });
  context.now = 30_000;
  expect(probes.takeDue(() => true, true)).toEqual([]);
  expect(probes.nextAt).toBe(Infinity);
});

test("a conflict that is over is none at the next answer", () => {
  const { context, probes } = setUp();
  probes.answered(A, { taken: true, heard: true, by: FOREIGN });
  probes.answered(A, { taken: false, heard: true });
  expect(probes.isConflict(A)).toBe(false);
  context.now = 10_000;
  expect(probes.takeDue(nobody, true)).toEqual([]);
});

test("a host that turns out to be a member is no conflict, and asked for no more", () => {
  const { context, probes } = setUp();
  probes.answered(A, { taken: true, heard: true, by: FOREIGN });
  expect(probes.absolve([{ mac: MEMBER }])).toEqual([]);
  expect(probes.isConflict(A)).toBe(true);
  expect(probes.absolve([{ mac: MEMBER }, { mac: FOREIGN }])).toEqual([A]);
  expect([probes.isConflict(A), probes.isDue(A)]).toEqual([false, false]);
  context.now = 10_000;
  expect(probes.takeDue(nobody, true)).toEqual([]);
});

test("who looks after a conflict no more has to ask before the next use", () => {
  const { probes } = setUp();
  probes.answered(A, { taken: true, heard: true, by: FOREIGN });
  probes.unwatch(A);
  expect(probes.isConflict(A)).toBe(false);
  expect(probes.isDue(A)).toBe(true);
  probes.answered(A, { taken: false, heard: true });
  probes.unwatch(A);
  expect(probes.isDue(A)).toBe(false);
});

test("the shell listens until told otherwise, an answer on its way is waited for", () => {
  const { probes } = setUp();
  probes.ask(A, "first-use");
  probes.unlisten(A);
  expect(probes.takeUnlistened()).toEqual([]);
  probes.answered(A, { taken: false, heard: true });
  probes.unlisten(A);
  probes.unlisten(A);
  expect(probes.takeUnlistened()).toEqual([A]);
  expect(probes.takeUnlistened()).toEqual([]);
  probes.ask(A, "first-use");
  probes.answered(A, { taken: false, heard: true });
  probes.used(A);
  probes.unlisten(A);
  expect(probes.takeUnlistened()).toEqual([]);
});
