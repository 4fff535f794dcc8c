import { expect, test } from "@jest/globals";

import { silentLogger } from "../../../kubernetes/logging.ts";
import { address } from "../../../packet/address/address.ts";
import { LinkError } from "../../../packet/link/link.ts";
import { GroupMembership } from "../../../speaker/group-membership.ts";

const V4 = address("192.0.2.80");
const V6 = address("2001:db8::80");
const OTHER = address("2001:db8::81");

/** A membership that writes down what it does; `refuse` makes joining fail. */
function membership() {
  const done: string[] = [];
  const warnings: unknown[] = [];
  const state = { refuse: false };
  const groups = new GroupMembership({
    logger: { ...silentLogger, warn: (_message, fields) => void warnings.push(fields) },
    open: (index) => ({
      join: (target) => {
        if (state.refuse) throw new LinkError("Failed", `joining on ${index}`);
        done.push(`join ${target} on ${index}`);
      },
      leave: (target) => void done.push(`leave ${target} on ${index}`),
      [Symbol.dispose]: () => void done.push(`close ${index}`),
    }),
  });
  return { groups, done, warnings, state };
}

test("joins where an address is announced, and leaves where it is no longer", () => {
  const { groups, done } = membership();
  groups.setInterfaces([
    { name: "eth0", index: 2 },
    { name: "eth1", index: 3 },
    { name: "lo", why: "excluded" },
  ]);
  groups.place(V6, ["eth0"]);
  groups.place(V6, ["eth0"]);
  groups.place(V6, ["eth1"]);
  groups.place(V6, []);
  expect(done).toEqual([
    `join ${V6} on 2`,
    `join ${V6} on 3`,
    `leave ${V6} on 2`,
    `leave ${V6} on 3`,
  ]);
});

test("is not concerned with IPv4", () => {
  const { groups, done } = membership();
  groups.setInterfaces([{ name: "eth0", index: 2 }]);
  groups.place(V4, ["eth0"]);
  expect(done).toEqual([]);
});

test("joins anew on an interface that was made anew, whichever is told first", () => {
  const { groups, done } = membership();
  groups.place(V6, ["eth0"]);
  groups.setInterfaces([{ name: "eth0", index: 2 }]);
  groups.setInterfaces([{ name: "eth0", index: 2 }]);
  groups.setInterfaces([{ name: "eth0", index: 7 }]);
  expect(done).toEqual([`join ${V6} on 2`, "close 2", `join ${V6} on 7`]);
});

test("complains once of an interface, and goes on", () => {
  const { groups, done, warnings, state } = membership();
  groups.setInterfaces([{ name: "eth0", index: 2 }]);
  state.refuse = true;
  groups.place(V6, ["eth0"]);
  groups.place(OTHER, ["eth0"]);
  expect(warnings).toMatchObject([{ interface: "eth0" }]);
  state.refuse = false;
  groups.place(OTHER, []);
  groups.place(OTHER, ["eth0"]);
  expect(done.at(-1)).toBe(`join ${OTHER} on 2`);
});

test("closes everything at the end", () => {
  const { groups, done } = membership();
  groups.setInterfaces([{ name: "eth0", index: 2 }]);
  groups[Symbol.dispose]();
  expect(done).toEqual(["close 2"]);
});

test("what could not be joined is joined when interfaces are looked at again, and not left before", () => {
  const { groups, done, state } = membership();
  const interfaces = [{ name: "eth0", index: 2 }];
  groups.setInterfaces(interfaces);
  state.refuse = true;
  groups.place(V6, ["eth0"]);
  groups.place(OTHER, ["eth0"]);
  groups.place(OTHER, []);
  expect(done).toEqual([]);
  state.refuse = false;
  groups.setInterfaces(interfaces);
  groups.setInterfaces(interfaces);
  expect(done).toEqual([`join ${V6} on 2`]);
});
