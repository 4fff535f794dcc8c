import { expect, test } from "@jest/globals";
import type { Address } from "../../../packet/address/address.ts";
import { Outbox, type Context } from "../../../speaker/context.ts";
import { Orphans } from "../../../speaker/orphans.ts";

const A = "192.0.2.1" as Address;
const B = "192.0.2.2" as Address;
const never = () => false;
const always = () => true;

function setUp() {
  const context = { now: 0, outbox: new Outbox() } as unknown as Context;
  const orphans = new Orphans(context);
  /** Sends what is to be asked, and gives who was asked for what. */
  const asked = () => {
    orphans.sendQueries();
    const sent: [string, readonly Address[]][] = [];
    for (const { to, messages } of context.outbox.take())
      for (const message of messages)
        if (message.type === "query") sent.push([to, message.addresses]);
    return sent;
  };
  return { context, orphans, asked };
}

test("whoever is third waits for two, asks the first, then both, and steps up", () => {
  const { context, orphans, asked } = setUp();
  const orphan = orphans.take(A);
  const isSteppingUp = () => orphans.isSteppingUp(A, orphan, ["b", "c"]);
  expect(isSteppingUp()).toBe(false);
  expect(asked()).toEqual([]);
  expect(orphans.nextAt).toBe(500);
  for (let tries = 0; tries < 6; tries++) {
    context.now = 500 + 20 * tries;
    expect(orphans.due(never)).toEqual([A]);
    expect(isSteppingUp()).toBe(false);
    expect(isSteppingUp()).toBe(false);
    const first: [string, Address[]] = ["b", [A]];
    expect(asked()).toEqual(tries === 0 ? [first] : [first, ["c", [A]]]);
  }
  context.now = 620;
  expect(isSteppingUp()).toBe(true);
});

test("one that says no is not asked again, and all that do are not waited for", () => {
  const { context, orphans, asked } = setUp();
  const orphan = orphans.take(A);
  const no = { type: "reply", answers: [{ address: A, mine: false }] } as const;
  expect(orphans.reply("b", no)).toEqual([]);
  context.now = 500;
  expect(orphans.isSteppingUp(A, orphan, ["b", "c"])).toBe(false);
  asked();
  expect(orphans.reply("b", no)).toEqual([A]);
  expect(orphans.isSteppingUp(A, orphan, ["b", "c"])).toBe(false);
  expect(asked()).toEqual([["c", [A]]]);
  orphans.reply("c", no);
  expect(orphans.isSteppingUp(A, orphan, ["b", "c"])).toBe(true);
});

test("past the eighth place one counts again when as many again have had their turn", () => {
  const { context, orphans, asked } = setUp();
  const orphan = orphans.take(A);
  const names = Array.from({ length: 999 }, (_, i) => `n${i}`);
  const isSteppingUp = (place: number) =>
    orphans.isSteppingUp(A, orphan, names.slice(0, Math.min(place, orphans.reach(orphan) + 1)));
  const waits: number[] = [];
  for (const place of [1, 7, 8, 9, 20, 999]) {
    orphan.nextAt = context.now = 0;
    for (; !isSteppingUp(place) && asked().length === 0; context.now = orphan.nextAt);
    waits.push(context.now);
  }
  expect(waits).toEqual([250, 1750, 2000, 2250, 5000, 249_750]);
  context.now = 250_000;
  orphan.tries = 1;
  expect(isSteppingUp(999)).toBe(false);
  expect(asked().map(([name]) => name)).toEqual(names.slice(0, 8));
});

test("one that will answer for it is waited for anew", () => {
  const { context, orphans, asked } = setUp();
  const orphan = orphans.take(A);
  context.now = 250;
  orphans.isSteppingUp(A, orphan, ["b"]);
  asked();
  orphans.reply("b", { type: "reply", answers: [{ address: A, mine: true }] });
  context.now = 499;
  expect(orphans.isSteppingUp(A, orphan, ["b"])).toBe(false);
  expect(asked()).toEqual([]);
  context.now = 500;
  expect(orphans.isSteppingUp(A, orphan, ["b"])).toBe(false);
  expect(asked()).toEqual([["b", [A]]]);
});

test("sixty are asked for in one packet, and none that is no orphan any more", () => {
  const { context, orphans, asked } = setUp();
  context.now = 1000;
  const addresses = Array.from({ length: 70 }, (_, i) => `192.0.2.${i + 1}` as Address);
  for (const address of addresses) {
    const orphan = orphans.take(address);
    orphan.since = 0;
    orphans.isSteppingUp(address, orphan, ["b"]);
  }
  orphans.delete(addresses[0]!);
  const sent = asked();
  expect(sent.map(([to, { length }]) => [to, length])).toEqual([
    ["b", 60],
    ["b", 9],
  ]);
  expect(sent.flatMap(([, part]) => part)).toEqual(addresses.slice(1));
});

test("what is due is looked at, what waits for the LAN is not, and the first of all at once", () => {
  const { context, orphans } = setUp();
  orphans.lookAt(5);
  expect(orphans.nextAt).toBe(Infinity);
  orphans.wake(orphans.take(A), 100);
  orphans.wake(orphans.take(B), 200);
  expect(orphans.nextAt).toBe(100);
  context.now = 100;
  expect(orphans.due(never)).toEqual([A]);
  expect(orphans.nextAt).toBe(200);
  expect(orphans.due((address) => address === B)).toEqual([A, B]);
  orphans.take(A).probing = true;
  expect(orphans.due(always)).toEqual([B]);
});

test("waits begin anew when nobody could have claimed", () => {
  const { context, orphans } = setUp();
  const orphan = orphans.take(A);
  orphans.postpone(700);
  expect(orphans.nextAt).toBe(700);
  orphans.restart(700);
  orphan.nextAt = 900;
  context.now = 600;
  orphans.release(650);
  expect(orphans.due(never)).toEqual([A]);
  expect(orphans.isSteppingUp(A, orphan, ["b"])).toBe(false);
  expect(orphan.nextAt).toBe(900);
});
