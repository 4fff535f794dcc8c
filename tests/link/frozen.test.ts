/** Real processes on loopback, one of which the kernel stops and continues. */
import { expect, test } from "@jest/globals";
import { fork, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { address, type Address } from "../../packet/address/address.ts";
import { eventually } from "../support/eventually.ts";
import type { Said, Setting } from "./speaking-process.ts";

const VIPS = [1, 2, 3, 4, 5, 6].map((i) => address(`192.0.2.${i}`));
const NAMES = ["node1", "node2", "node3"];
const SCRIPT = join(import.meta.dirname, "speaking-process.ts");

class Speaking {
  readonly name: string;
  readonly process: ChildProcess;
  readonly answers = new Set<Address>();
  /** Addresses of which it knows the owner. */
  known = 0;
  /** Addresses that it ceased to answer for. */
  readonly stopped: Address[] = [];

  constructor(setting: Setting) {
    this.name = setting.node;
    this.process = fork(SCRIPT, [JSON.stringify(setting)]);
    this.process.on("message", (said: Said) => {
      if ("known" in said) {
        this.known = said.known;
        return;
      }
      const { answers, addresses } = said;
      for (const each of addresses) {
        if (answers) this.answers.add(each);
        else if (this.answers.delete(each)) this.stopped.push(each);
      }
    });
  }
}

test("an owner that is stopped, and continued before its heirs are firm, takes nothing back", async () => {
  const base = 20_000 + Math.floor(Math.random() * 30_000);
  const ports = Object.fromEntries(NAMES.map((name, i) => [name, base + i]));
  const secret = randomBytes(32).toString("hex");
  const speaking = NAMES.map((node) => new Speaking({ node, ports, addresses: VIPS, secret }));
  try {
    const patience = { deadlineMs: 30_000 };
    await eventually(() => {
      for (const vip of VIPS)
        expect(speaking.filter(({ answers }) => answers.has(vip))).toHaveLength(1);
      expect(speaking.map(({ known }) => known)).toEqual([6, 6, 6]);
    }, patience);
    const owner = speaking.reduce((a, b) => (b.answers.size > a.answers.size ? b : a));
    const others = speaking.filter((each) => each !== owner);
    const lost = [...owner.answers];
    owner.process.kill("SIGSTOP");
    await eventually(() => {
      for (const vip of lost) expect(others.some(({ answers }) => answers.has(vip))).toBe(true);
    }, patience);
    owner.process.kill("SIGCONT");
    await eventually(() => expect(owner.stopped.toSorted()).toEqual(lost.toSorted()), patience);
    expect([...owner.answers]).toEqual([]);
    expect(others.flatMap(({ stopped }) => stopped)).toEqual([]);
  } finally {
    for (const { process } of speaking) process.kill("SIGKILL");
  }
}, 100_000);
