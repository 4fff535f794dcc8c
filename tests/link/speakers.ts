/** Speakers of a LAN of namespaces: the product's threads in conversation, told what to compete for. */
import { randomBytes } from "node:crypto";
import { expect } from "@jest/globals";
import { address, type Address } from "../../packet/address/address.ts";
import type { CandidacyEntry, MemberNews } from "../../speaker/thread-protocol.ts";
import { eventually } from "../support/eventually.ts";
import type { Host, Lan } from "../support/netns.ts";
import { ResponderNode } from "./node-client.ts";

/** For whatever the speakers settle among themselves. */
export const PATIENCE = { deadlineMs: 30_000 };

/** Name of the node that is a host of the LAN. */
export const nameOf = (number: number): string => `node${number}`;

/** Who answers an ARP request for an address on an interface; undefined: nobody. */
export async function answerer(
  from: Host,
  target: Address,
  on = "eth0",
): Promise<string | undefined> {
  const options = ["-c", "1", "-w", "1", "-f", "-I", on, target];
  const output = await from.run("arping", ...options).catch((error: unknown) => error);
  const { stdout } = output as { readonly stdout: string };
  return /\[([0-9A-Fa-f:]+)\]/.exec(stdout)?.[1]?.toLowerCase();
}

/** The hardware address of a host's interface. */
export async function macOf(host: Host, name: string): Promise<string> {
  const { stdout } = await host.ip("-json", "link", "show", name);
  return (JSON.parse(stdout) as { address: string }[])[0]?.address ?? "";
}

/** Speakers that have found each other. */
export class Speakers implements AsyncDisposable {
  readonly #nodes = new Map<number, ResponderNode>();

  /** Starts one on each of these hosts of the LAN, and waits until all are members. */
  static async start(lan: Lan, numbers: readonly number[]): Promise<Speakers> {
    const speakers = new Speakers();
    const hints = numbers.map((number) => {
      const endpoint = { address: address(lan.host(number).ipv4), port: 7946 };
      return { name: nameOf(number), endpoints: [endpoint] };
    });
    const key = Uint8Array.from(randomBytes(32));
    for (const number of numbers) {
      const node = await ResponderNode.start(lan.host(number));
      speakers.#nodes.set(number, node);
      await node.post({ kind: "hints", hints });
      await node.post({ kind: "converse", node: nameOf(number), cluster: "test", keys: [key] });
    }
    for (const node of speakers.#nodes.values())
      await eventually(async () => {
        const { members } = await node.state();
        const ready = members.filter(({ live, links }) => live && links.length > 0);
        expect(ready).toHaveLength(numbers.length);
      }, PATIENCE);
    return speakers;
  }

  node(number: number): ResponderNode {
    const node = this.#nodes.get(number);
    if (node === undefined) throw new RangeError(`no speaker ${number}`);
    return node;
  }

  /** Has all of them compete for addresses; the first by rank probes, unless another one is named. */
  async compete(entries: readonly CandidacyEntry[]): Promise<void> {
    const set = entries.map((entry) => {
      const [first] = entry.ranked;
      return { ...(first !== undefined && { prober: first }), ...entry };
    });
    for (const node of this.#nodes.values())
      await node.post({ kind: "candidacies", set, delete: [] });
  }

  /** The owner of an address, as one of them sees it. */
  async owner(address: Address, seenBy = 1): Promise<string | undefined> {
    const { owners } = await this.node(seenBy).state();
    return owners.find((each) => each.address === address)?.owner;
  }

  /** A member, as one of them sees it. */
  async member(name: string, seenBy: number): Promise<MemberNews | undefined> {
    return (await this.node(seenBy).state()).members.find((each) => each.name === name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.#nodes.values()) await node[Symbol.asyncDispose]();
  }
}
