/**
 * Two LANs: speakers with their real threads, sockets and links, of which not all are on both. An
 * address is answered for on the link whose network holds it, by a node that has that link.
 */
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { address } from "../../packet/address/address.ts";
import { eventually } from "../support/eventually.ts";
import { createLan, type Host, type Lan } from "../support/netns.ts";
import { describeWith } from "../support/requirements.ts";
import { answerer, macOf, nameOf, PATIENCE, Speakers } from "./speakers.ts";

jest.setTimeout(120_000);

/** The speakers talk on the first LAN, eth0; the second one, eth1, is 198.51.100.0/24. */
const CLIENT = 4;
const ON_FIRST = address("10.99.0.200");
const ON_SECOND = address("198.51.100.200");
/** In the first LAN's network, of a pool that names eth1. */
const ELSEWHERE = address("10.99.0.201");
/** Node 3, which is on the first LAN alone, goes first by rank. */
const RANKED = [3, 1, 2].map(nameOf);

/** Plugs a host into the second LAN. */
async function join(lan: Lan, number: number): Promise<void> {
  const host = lan.host(number);
  const port = `q${number}`;
  await lan.switch.ip(
    ...["link", "add", port, "type", "veth", "peer", "name", "eth1", "netns", host.name],
  );
  await lan.switch.ip("link", "set", port, "master", "br1", "up");
  await host.ip("addr", "add", `198.51.100.${number}/24`, "dev", "eth1");
  await host.ip("link", "set", "eth1", "up");
}

describeWith(
  "linux",
  "root",
  "netns",
  "native",
  "arping",
)("speakers on two LANs", () => {
  let lan: Lan;
  let client: Host;
  let speakers: Speakers;
  /** Hardware addresses on the second LAN, by node. */
  const second = new Map<string, number>();

  beforeAll(async () => {
    lan = await createLan({ hosts: CLIENT });
    await lan.switch.ip("link", "add", "br1", "type", "bridge", "mcast_snooping", "0");
    await lan.switch.ip("link", "set", "br1", "up");
    for (const number of [1, 2, CLIENT]) await join(lan, number);
    client = lan.host(CLIENT);
    for (const number of [1, 2]) second.set(await macOf(lan.host(number), "eth1"), number);
    speakers = await Speakers.start(lan, [1, 2, 3]);
    await speakers.compete([
      { address: ON_FIRST, ranked: RANKED },
      { address: ON_SECOND, ranked: RANKED },
      { address: ELSEWHERE, ranked: RANKED, interfaces: ["eth1"] },
    ]);
  });

  afterAll(async () => {
    await speakers[Symbol.asyncDispose]();
    await lan[Symbol.asyncDispose]();
  });

  test("an address is answered for on the LAN that holds it, by the first in rank, and not on the other", async () => {
    const mac = await macOf(lan.host(3), "eth0");
    await eventually(async () => {
      expect(await answerer(client, ON_FIRST, "eth0")).toBe(mac);
    }, PATIENCE);
    expect(await answerer(client, ON_FIRST, "eth1")).toBeUndefined();
  });

  test("a node without a link to the other LAN never wins an address of it, though it is first", async () => {
    await eventually(async () => {
      const mac = await answerer(client, ON_SECOND, "eth1");
      expect(second.get(mac ?? "")).toBe(1);
    }, PATIENCE);
    expect(await speakers.owner(ON_SECOND)).toBe("node1");
    expect(await answerer(client, ON_SECOND, "eth0")).toBeUndefined();
  });

  test("the pool's interfaces go before the networks", async () => {
    await eventually(async () => {
      const mac = await answerer(client, ELSEWHERE, "eth1");
      expect(second.get(mac ?? "")).toBe(1);
    }, PATIENCE);
    expect(await answerer(client, ELSEWHERE, "eth0")).toBeUndefined();
  });

  test("a cable that is pulled out of the second LAN moves its addresses, and no other", async () => {
    const before = await speakers.owner(ON_FIRST);
    await lan.switch.ip("link", "set", "q1", "down");
    await eventually(async () => {
      const mac = await answerer(client, ON_SECOND, "eth1");
      expect(second.get(mac ?? "")).toBe(2);
    }, PATIENCE);
    expect(await speakers.owner(ON_FIRST)).toBe(before);
    const { interfaces } = await speakers.node(1).state();
    expect(interfaces.find(({ name }) => name === "eth1")).toMatchObject({ reason: "NoCarrier" });
    expect((await speakers.member("node1", 2))?.links.map(({ name }) => name)).toEqual(["eth0"]);
    // Back again: it takes nothing back.
    await lan.switch.ip("link", "set", "q1", "up");
    await eventually(async () => {
      expect((await speakers.member("node1", 2))?.links).toHaveLength(2);
    }, PATIENCE);
    expect(second.get((await answerer(client, ON_SECOND, "eth1")) ?? "")).toBe(2);
  });

  test("a node that is told to drain hands over, and others hear why; it may come back", async () => {
    await speakers.node(3).post({ kind: "plight", plight: "DataPlaneNotReady" });
    await speakers.node(3).post({ kind: "drain", on: true });
    await eventually(async () => {
      expect(await speakers.owner(ON_FIRST)).not.toBe("node3");
      expect(await speakers.member("node3", 1)).toMatchObject({
        status: "draining",
        plight: "DataPlaneNotReady",
      });
    }, PATIENCE);
    const heir = await speakers.owner(ON_FIRST);
    await speakers.node(3).post({ kind: "plight" });
    await speakers.node(3).post({ kind: "drain", on: false });
    await eventually(async () => {
      expect((await speakers.member("node3", 1))?.status).toBe("active");
      expect((await speakers.member("node3", 1))?.plight).toBeUndefined();
    }, PATIENCE);
    expect(await speakers.owner(ON_FIRST)).toBe(heir);
  });
});
