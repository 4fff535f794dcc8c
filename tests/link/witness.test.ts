import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";

import { eventually } from "../support/eventually.ts";
import { createLan, type Lan } from "../support/netns.ts";
import { describeWith } from "../support/requirements.ts";
import { Agent } from "./agent-client.ts";

jest.setTimeout(30_000);

const suite = describeWith("linux", "root", "netns", "rawSocket");

let lan: Lan;
beforeAll(async () => {
  lan = await createLan({ hosts: 2 });
});
afterAll(async () => {
  await lan[Symbol.asyncDispose]();
});

suite("the LAN witness", () => {
  test("hears a host over IPv4, IPv6 and its link-local address", async () => {
    await using one = await Agent.start(lan.host(1));
    const { ipv4, ipv6 } = lan.host(2);
    const linkLocal = "fe80::ff:fe00:2";
    for (const target of [ipv4, ipv6, linkLocal]) {
      // The host may still be busy with duplicate address detection of its own.
      const result = await eventually(async () => {
        const answer = await one.witness(target);
        return answer.ok && answer;
      });
      expect(result.roundTripMs).toBeGreaterThan(0);
    }
  });

  test("hears several hosts at once and takes no answer for another's", async () => {
    await using one = await Agent.start(lan.host(1));
    const { ipv4, ipv6 } = lan.host(2);
    const targets = [ipv4, ipv6, "10.99.0.200", ipv4, "fd00:99::200"];
    const results = await Promise.all(targets.map((target) => one.witness(target, 1500)));
    expect(results.map(({ ok }) => ok)).toEqual([true, true, false, true, false]);
    expect(results[2]).toMatchObject({
      reason: "NoAnswer",
      message: expect.stringContaining("10.99.0.200"),
    });
  });

  test("tells a request that could not be sent from one that nobody answered", async () => {
    await using one = await Agent.start(lan.host(1));
    await lan.host(1).ip("link", "set", "eth0", "down");
    expect(await one.witness(lan.host(2).ipv4, 300)).toMatchObject({
      ok: false,
      reason: "Refused",
    });
    await lan.host(1).ip("link", "set", "eth0", "up");
    await eventually(async () => (await one.witness(lan.host(2).ipv4, 300)).ok);
  });

  test("says what is missing: the interface, or the capability", async () => {
    await using one = await Agent.start(lan.host(1));
    const order = { interfaceName: "eth7", target: lan.host(2).ipv4, timeoutMs: 300 };
    await expect(one.tell("witness", order)).rejects.toMatchObject({ code: "NoSuchInterface" });
    const wrapper = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw"];
    await using other = await Agent.start(lan.host(1), wrapper);
    await expect(other.witness(lan.host(2).ipv4)).rejects.toMatchObject({
      code: "PermissionDenied",
      message: expect.stringContaining("CAP_NET_RAW"),
    });
  });

  test("needs no other capability than CAP_NET_RAW, and ends in order", async () => {
    const wrapper = ["setpriv", "--bounding-set=-all,+net_raw", "--inh-caps=-all"];
    await using one = await Agent.start(lan.host(1), wrapper);
    expect(await one.witness(lan.host(2).ipv4)).toMatchObject({ ok: true });
    await one.tell("groups", { interfaceIndex: await indexOf(1), join: ["fd00:99::aa:1"] });
    expect(await one.end()).toBe("");
  });

  test("finds the default gateways of both families", async () => {
    await lan.host(1).ip("route", "add", "default", "via", lan.host(2).ipv4, "metric", "50");
    await lan.host(1).ip("route", "add", "default", "via", "10.99.0.77", "metric", "20");
    await lan.host(1).ip("-6", "route", "add", "default", "via", "fe80::9", "dev", "eth0");
    await using one = await Agent.start(lan.host(1));
    expect(await one.tell("gateways", {})).toEqual([
      { interfaceName: "eth0", address: "10.99.0.77" },
      { interfaceName: "eth0", address: lan.host(2).ipv4 },
      { interfaceName: "eth0", address: "fe80::9" },
    ]);
  });
});

async function indexOf(host: number): Promise<number> {
  const { stdout } = await lan.host(host).run("ip", "-j", "link", "show", "eth0");
  return (JSON.parse(stdout) as [{ readonly ifindex: number }])[0].ifindex;
}

suite("solicited-node groups", () => {
  const members = async (): Promise<string> =>
    (await lan.host(1).run("ip", "-6", "maddr", "show", "dev", "eth0")).stdout;

  test("are joined once for addresses that share one, and left with the last of them", async () => {
    const interfaceIndex = await indexOf(1);
    await using one = await Agent.start(lan.host(1));
    const groups = (order: object): Promise<unknown> =>
      one.tell("groups", { interfaceIndex, ...order });
    expect(await groups({ join: ["fd00:99::12:3456", "fd00:98::12:3456", "fd00:99::1:1"] })).toBe(
      2,
    );
    expect(await members()).toContain("ff02::1:ff12:3456");
    await groups({ leave: ["fd00:99::12:3456"] });
    expect(await members()).toContain("ff02::1:ff12:3456");
    await groups({ leave: ["fd00:98::12:3456", "fd00:97::7:7777"] });
    expect(await members()).not.toContain("ff02::1:ff12:3456");
    expect(await members()).toContain("ff02::1:ff01:1");
  });

  test("are joined by thousands, though a socket holds but some", async () => {
    const interfaceIndex = await indexOf(1);
    await lan.host(1).run("sysctl", "-qw", "net.core.optmem_max=20480");
    await using one = await Agent.start(lan.host(1));
    const join = Array.from({ length: 2000 }, (_, i) => `fd00:99::ab:${i.toString(16)}`);
    expect(await one.tell("groups", { interfaceIndex, join })).toBe(2000);
    const shown = (await members()).split("\n").filter((line) => line.includes("ff02::1:ffab:"));
    expect(shown.length).toBe(2000);
    await one.tell("groups", { interfaceIndex, leave: join });
    expect(await members()).not.toContain("ff02::1:ffab:");
  });

  test("refuse an interface that does not exist", async () => {
    await using one = await Agent.start(lan.host(1));
    const joining = one.tell("groups", { interfaceIndex: 9999, join: ["fd00:99::1"] });
    await expect(joining).rejects.toMatchObject({ code: "NoSuchInterface" });
  });
});
