import { existsSync, readdirSync } from "node:fs";
import { execFileSync } from "node:child_process";

import { expect, jest, test } from "@jest/globals";

import { eventually } from "../support/eventually.ts";
import { createLan, sweep } from "../support/netns.ts";
import { describeWith } from "../support/requirements.ts";

jest.setTimeout(30_000);

const ours = (): string[] =>
  (existsSync("/run/netns") ? readdirSync("/run/netns") : []).filter((name) =>
    name.startsWith(`lan-${process.pid}-`),
  );

describeWith(
  "linux",
  "root",
  "netns",
  "ping",
)("a LAN of namespaces", () => {
  test("joins its hosts over both families, and nothing of it stays", async () => {
    let program;
    {
      await using lan = await createLan({ hosts: 3 });
      expect(ours().length).toBe(4);
      const { ipv4, ipv6 } = lan.host(3);
      await eventually(() => lan.host(1).run("ping", "-c1", "-W1", ipv4));
      await eventually(() => lan.host(2).run("ping", "-6", "-c1", "-W1", ipv6));
      program = lan.host(1).start("sleep", "1000");
      expect(() => lan.host(4)).toThrow("host 4");
    }
    expect(program.signalCode).toBe("SIGKILL");
    expect(ours()).toEqual([]);
  });

  test("that fails half way takes down what was made", async () => {
    await expect(createLan({ hosts: 2, ipv4: "no address" })).rejects.toThrow("no address");
    expect(ours()).toEqual([]);
  });

  test("sweeps what a process that is no more has left, and nothing else", async () => {
    await using lan = await createLan({ hosts: 1 });
    const gone = execFileSync("sh", ["-c", "echo $$"], { encoding: "utf8" }).trim();
    const left = `lan-${gone}-1-sw`;
    execFileSync("ip", ["netns", "add", left]);
    await sweep();
    expect(existsSync(`/run/netns/${left}`)).toBe(false);
    expect(existsSync(lan.switch.path)).toBe(true);
  });
});
