/** What speakers find out about each other and about addresses, on a LAN where something is wrong. */
import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";
import { address } from "../../packet/address/address.ts";
import { eventually } from "../support/eventually.ts";
import { createLan, type Host, type Lan } from "../support/netns.ts";
import { describeWith } from "../support/requirements.ts";
import { answerer, macOf, nameOf, PATIENCE, Speakers } from "./speakers.ts";

jest.setTimeout(120_000);

const VIP = address("10.99.0.200");
const RANKED = [1, 2, 3].map(nameOf);
const CLIENT = 4;

describeWith(
  "linux",
  "root",
  "netns",
  "native",
  "nft",
  "arping",
)("on a LAN of three speakers", () => {
  let lan: Lan;
  let client: Host;
  let speakers: Speakers;

  beforeEach(async () => {
    lan = await createLan({ hosts: CLIENT });
    client = lan.host(CLIENT);
    speakers = await Speakers.start(lan, [1, 2, 3]);
  });

  afterEach(async () => {
    await speakers[Symbol.asyncDispose]();
    await lan[Symbol.asyncDispose]();
  });

  /** Has node 1 own the address. */
  async function settle(): Promise<void> {
    await speakers.compete([{ address: VIP, ranked: RANKED }]);
    const mac = await macOf(lan.host(1), "eth0");
    await eventually(async () => expect(await answerer(client, VIP)).toBe(mac), PATIENCE);
  }

  /** Drops frames that come from a host into the switch. */
  async function drop(from: Host, what: string): Promise<void> {
    const chain = `{ type filter hook ingress device "${from.port}" priority 0; ${what} drop; }`;
    await lan.switch.run("nft", `table netdev faults { chain from ${chain}; }`);
  }

  test("Probing, before its first use; then it is announced", async () => {
    await settle();
    expect((await speakers.node(1).state()).hindrances).toEqual(["probing"]);
  });

  for (const { when, entries } of [
    { when: "before its first use", entries: [RANKED] },
    { when: "at its assignment, while no endpoint is Ready", entries: [[]] },
    { when: "when an endpoint becomes Ready while it is probed", entries: [[], RANKED] },
  ])
    test(`AddressConflict of an address that another host has, ${when}, with its hardware address`, async () => {
      await client.ip("addr", "add", `${VIP}/32`, "dev", "eth0");
      const usedBy = await macOf(client, "eth0");
      for (const ranked of entries)
        await speakers.compete([{ address: VIP, ranked, prober: "node1" }]);
      await eventually(async () => {
        const { owners } = await speakers.node(1).state();
        expect(owners).toEqual([expect.objectContaining({ address: VIP, usedBy })]);
      }, PATIENCE);
      expect(await speakers.owner(VIP)).toBeUndefined();
    });

  test("PeerUnreachableButAnswering of one that is not heard and still answers: nobody takes over", async () => {
    await settle();
    const mac = await macOf(lan.host(1), "eth0");
    const udp =
      "table inet cut { chain c { type filter hook output priority 0; udp dport 7946 drop; }; }";
    await lan.host(1).run("nft", udp);
    await eventually(async () => {
      const { reason } = (await speakers.member("node1", 2)) ?? {};
      expect(reason).toBe("PeerUnreachableButAnswering");
    }, PATIENCE);
    expect(await answerer(client, VIP)).toBe(mac);
  });

  test("NotAnswering of one that is heard, while its answers are lost", async () => {
    await settle();
    await drop(lan.host(1), "ether type arp");
    await eventually(async () => {
      const members = [await speakers.member("node1", 2), await speakers.member("node1", 3)];
      expect(members.map((member) => member?.reason)).toContain("NotAnswering");
    }, PATIENCE);
  });

  test("Isolated of itself, when it hears nobody", async () => {
    await settle();
    const port = lan.host(3).port;
    await lan.switch.run(
      "nft",
      `table netdev cut { chain to { type filter hook egress device "${port}" priority 0; drop; }; }`,
    );
    await eventually(async () => {
      expect((await speakers.node(3).state()).self?.isolated).toBe(true);
    }, PATIENCE);
  });
});
