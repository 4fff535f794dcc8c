/**
 * The Linux kernel is the judge: what its neighbour tables hold after our announcements and replies.
 * Hosts 1 and 2 are nodes, host 3 is a client with nothing but its kernel.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from "@jest/globals";

import { address, familyOf, type Address } from "../../packet/address/address.ts";
import { eventually } from "../support/eventually.ts";
import { createLan, type Host, type Lan } from "../support/netns.ts";
import { describeWith } from "../support/requirements.ts";
import { ResponderNode } from "./node-client.ts";

jest.setTimeout(60_000);

const execute = promisify(execFile);
const V4 = address("10.99.0.80");
const V6 = address("fd00:99::80");

/** Sets a parameter of the kernel in the host's namespace. */
async function setting(host: Host, path: string, value: number | string): Promise<void> {
  await host.run("sh", "-c", `echo ${value} > /proc/sys/net/${path}`);
}

/** How the host's kernel knows an address: its MAC address and the state of the entry. */
async function neighbour(
  host: Host,
  of: Address,
): Promise<{ readonly mac: string | undefined; readonly state: string | undefined }> {
  const { stdout } = await host.ip("neigh", "show", "to", of, "dev", "eth0", "nud", "all");
  const words = stdout.trim().split(/\s+/);
  const at = words.indexOf("lladdr");
  return { mac: at < 0 ? undefined : words[at + 1], state: words.at(-1) };
}

async function becomes(host: Host, of: Address, mac: string): Promise<void> {
  await eventually(async () => expect((await neighbour(host, of)).mac).toBe(mac));
}

/** Has the host send to an address, which answers nothing above ARP and Neighbor Discovery. */
async function sendTo(host: Host, to: Address): Promise<void> {
  const family = familyOf(to) === "ipv6" ? ["-6"] : [];
  await host.run("ping", ...family, "-c1", "-W1", to).catch(() => undefined);
}

describeWith(
  "linux",
  "root",
  "netns",
  "native",
  "arping",
  "ping",
  "tcpdump",
  "tshark",
)("the kernel of a client", () => {
  let lan: Lan;
  let one: ResponderNode;
  let two: ResponderNode;
  let client: Host;
  let folder: string;
  const macs = { one: "", two: "" };

  beforeAll(async () => {
    lan = await createLan({ hosts: 3 });
    folder = await mkdtemp(join(tmpdir(), "kernel-"));
    client = lan.host(3);
    // Neighbours are doubted soon, so that nobody waits for it.
    for (const family of ["ipv4", "ipv6"])
      await setting(client, `${family}/neigh/eth0/delay_first_probe_time`, 1);
    client.start("tcpdump", "-i", "eth0", "-U", "-w", join(folder, "client.pcap"), "arp or icmp6");
    one = await ResponderNode.start(lan.host(1));
    two = await ResponderNode.start(lan.host(2));
    macs.one = lan.host(1).mac;
    macs.two = lan.host(2).mac;
  });
  afterAll(async () => {
    await one[Symbol.asyncDispose]();
    await two[Symbol.asyncDispose]();
    await lan[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });
  afterEach(async () => {
    await one.withdraw(V4, V6);
    await two.withdraw(V4, V6);
    for (const each of [V4, V6])
      await client.ip("neigh", "del", each, "dev", "eth0").catch(() => undefined);
  });

  for (const target of [V4, V6]) {
    test(`resolves ${target} by our reply`, async () => {
      await one.announce(target);
      await client.ip("neigh", "flush", "dev", "eth0");
      await sendTo(client, target);
      expect(await neighbour(client, target)).toEqual({ mac: macs.one, state: "REACHABLE" });
    });

    test(`finds ${target} still there when it doubts: its unicast probe is answered`, async () => {
      await one.announce(target);
      await client.ip(
        "neigh",
        "replace",
        target,
        "lladdr",
        macs.one,
        "dev",
        "eth0",
        "nud",
        "stale",
      );
      const { answered } = await one.addressCounts(target);
      await sendTo(client, target);
      await eventually(async () =>
        expect(await neighbour(client, target)).toEqual({ mac: macs.one, state: "REACHABLE" }),
      );
      await eventually(async () =>
        expect((await one.addressCounts(target)).answered).toBeGreaterThan(answered),
      );
      const requests = await requestsFor(await one.exchanges(), target);
      expect(requests.at(-1)).toBe(macs.one);
    });

    test(`doubts ${target} when its time is over: its probe is answered, time and again`, async () => {
      // 30 s by default, cut short: the kernel goes through the same states.
      const reachable = `${familyOf(target)}/neigh/eth0/base_reachable_time_ms`;
      await setting(client, reachable, 200);
      await one.announce(target);
      await eventually(
        async () => {
          await sendTo(client, target);
          const asked = await requestsFor(await one.exchanges(), target);
          expect(asked.filter((mac) => mac === macs.one).length).toBeGreaterThan(2);
        },
        { deadlineMs: 45_000 },
      );
      expect(await neighbour(client, target)).toMatchObject({ mac: macs.one });
      await setting(client, reachable, 30_000);
    });

    test(`follows ${target} from one node to the other and back`, async () => {
      await one.announce(target);
      await sendTo(client, target);
      await becomes(client, target, macs.one);
      await two.announce(target);
      await one.withdraw(target);
      await becomes(client, target, macs.two);
      await one.announce(target);
      await two.withdraw(target);
      await becomes(client, target, macs.one);
    });

    for (const state of ["reachable", "stale", "delay", "probe"])
      test(`heeds the announcement of ${target}, its entry being ${state}`, async () => {
        const entry = [target, "lladdr", macs.two, "dev", "eth0", "nud", state];
        await client.ip("neigh", "replace", ...entry);
        await one.announce(target);
        await becomes(client, target, macs.one);
      });

    for (const state of ["failed", "incomplete"])
      test(`finds ${target} when it needs it, its entry being ${state}`, async () => {
        const entry = [target, "dev", "eth0", "nud", state];
        await client.ip("neigh", "replace", ...entry);
        await one.announce(target);
        await eventually(async () => {
          await sendTo(client, target);
          expect((await neighbour(client, target)).mac).toBe(macs.one);
        });
      });

    for (const state of ["permanent", "noarp"])
      test(`keeps what its administrator has set for ${target} (${state}), whatever we say`, async () => {
        const entry = [target, "lladdr", macs.two, "dev", "eth0", "nud", state];
        await client.ip("neigh", "replace", ...entry);
        await one.announce(target);
        await eventually(async () => expect(await announcementsSeen(target)).toBeGreaterThan(0));
        expect((await neighbour(client, target)).mac).toBe(macs.two);
      });
  }

  describe("with arp_accept", () => {
    afterEach(async () => setting(client, "ipv4/conf/eth0/arp_accept", 0));

    test("1 learns an address from its announcement alone", async () => {
      await setting(client, "ipv4/conf/eth0/arp_accept", 1);
      await one.announce(V4);
      await becomes(client, V4, macs.one);
    });

    test("0 learns none, and asks", async () => {
      await one.announce(V4);
      await eventually(async () => expect(await announcementsSeen(V4)).toBeGreaterThan(0));
      expect((await neighbour(client, V4)).mac).toBeUndefined();
      await sendTo(client, V4);
      expect((await neighbour(client, V4)).mac).toBe(macs.one);
    });

    for (const accept of [0, 1])
      test(`${accept} heeds a move within its locktime`, async () => {
        await setting(client, "ipv4/conf/eth0/arp_accept", accept);
        // In hundredths of a second: no change after this one, but for announcements.
        await setting(client, "ipv4/neigh/eth0/locktime", 100_000);
        await client.ip("neigh", "replace", V4, "lladdr", macs.two, "dev", "eth0", "nud", "stale");
        await one.announce(V4);
        await becomes(client, V4, macs.one);
        await setting(client, "ipv4/neigh/eth0/locktime", 100);
      });
  });

  describe("with ndisc_notify", () => {
    for (const notify of [0, 1])
      test(`${notify}, its link having been down, goes on with the address`, async () => {
        await setting(client, "ipv6/conf/eth0/ndisc_notify", notify);
        await one.announce(V6);
        await sendTo(client, V6);
        await becomes(client, V6, macs.one);
        await client.ip("link", "set", "eth0", "down");
        await client.ip("link", "set", "eth0", "up");
        await client.ip("addr", "replace", `${client.ipv6}/64`, "dev", "eth0", "nodad");
        await eventually(async () => {
          await sendTo(client, V6);
          expect((await neighbour(client, V6)).mac).toBe(macs.one);
        });
        await setting(client, "ipv6/conf/eth0/ndisc_notify", 0);
      });

    for (const accept of [1, 2])
      test(`and accept_untracked_na ${accept}, being a router, learns an address from its announcement alone`, async () => {
        const settings = { ndisc_notify: 1, forwarding: 1, accept_untracked_na: accept };
        for (const [name, value] of Object.entries(settings))
          await setting(client, `ipv6/conf/eth0/${name}`, value);
        await one.announce(V6);
        await becomes(client, V6, macs.one);
        for (const name of Object.keys(settings))
          await setting(client, `ipv6/conf/eth0/${name}`, 0);
      });
  });

  describe("that wants an address of ours itself", () => {
    test("finds it taken: duplicate address detection fails", async () => {
      await one.announce(V6);
      await client.ip("addr", "add", `${V6}/64`, "dev", "eth0");
      await eventually(async () =>
        expect((await client.ip("addr", "show", "dev", "eth0")).stdout).toContain("dadfailed"),
      );
      await client.ip("addr", "del", `${V6}/64`, "dev", "eth0");
    });

    test("finds it taken: arping -D is answered", async () => {
      await one.announce(V4);
      const found = client.run("arping", "-D", "-c2", "-w3", "-I", "eth0", V4);
      await expect(found).rejects.toMatchObject({ code: 1 });
    });

    test("is found to have it when we probe", async () => {
      await lan.host(2).ip("addr", "add", `${V4}/24`, "dev", "eth0");
      await one.post({ kind: "probe", entries: [{ address: V4 }], pace: "fast" });
      await eventually(async () =>
        expect((await one.state()).probed).toEqual([
          { kind: "probed", address: V4, takenBy: macs.two },
        ]),
      );
      await lan.host(2).ip("addr", "del", `${V4}/24`, "dev", "eth0");
    });
  });

  test("whom a stranger tells that it has our address is set right at once", async () => {
    await one.post({ kind: "colleagues", macs: [] });
    await one.announce(V4);
    await sendTo(client, V4);
    await becomes(client, V4, macs.one);
    const stranger = lan.host(2);
    await stranger.ip("addr", "add", `${V4}/24`, "dev", "eth0");
    await stranger.run("arping", "-U", "-c1", "-I", "eth0", "-s", V4, V4);
    await eventually(async () =>
      expect(await one.logged("another host claims an announced address")).toContainEqual(
        expect.objectContaining({ address: V4, hardwareAddress: macs.two, defended: true }),
      ),
    );
    await becomes(client, V4, macs.one);
    await stranger.ip("addr", "del", `${V4}/24`, "dev", "eth0");
  });

  test("heard no frame of ours that tshark finds fault with", async () => {
    await one.announce(V4, V6);
    await eventually(async () => expect(await announcementsSeen(V6)).toBeGreaterThan(0));
    const ours = `(arp.src.proto_ipv4 == ${V4} or icmpv6.nd.na.target_address == ${V6})`;
    const from = `eth.src == ${macs.one} or eth.src == ${macs.two}`;
    const wrong = "_ws.malformed or _ws.expert.severity >= 6291456 or icmpv6.checksum.status == 0";
    expect((await read(`${ours} and (${from})`)).length).toBeGreaterThan(20);
    // A stranger, and a move, are what tshark is meant to warn of.
    const expected = "arp.duplicate-address-detected";
    expect(await read(`${ours} and (${from}) and (${wrong}) and not ${expected}`)).toEqual([]);
  });

  /** What the client's interface has seen, one line a frame that a filter matches. */
  async function read(filter: string): Promise<string[]> {
    const file = join(folder, "client.pcap");
    const { stdout } = await execute("tshark", ["-n", "-r", file, "-Y", filter]);
    return stdout.split("\n").filter((line) => line !== "");
  }

  async function announcementsSeen(of: Address): Promise<number> {
    const filter =
      familyOf(of) === "ipv4"
        ? `arp.src.proto_ipv4 == ${of} and arp.dst.proto_ipv4 == ${of}`
        : `icmpv6.nd.na.target_address == ${of} and ipv6.dst == ff02::1`;
    return (await read(`${filter} and eth.src == ${macs.one}`)).length;
  }

  /** The MAC addresses to which requests for an address in a capture file went. */
  async function requestsFor(pcap: Uint8Array, of: Address): Promise<string[]> {
    const file = join(folder, "exchanges.pcap");
    await writeFile(file, pcap);
    const filter =
      familyOf(of) === "ipv4"
        ? `arp.opcode == 1 and arp.dst.proto_ipv4 == ${of} and eth.src == ${client.mac}`
        : `icmpv6.nd.ns.target_address == ${of}`;
    const options = ["-n", "-r", file, "-Y", filter, "-T", "fields", "-e", "eth.dst"];
    const { stdout } = await execute("tshark", options);
    return stdout.split("\n").filter((line) => line !== "");
  }
});
