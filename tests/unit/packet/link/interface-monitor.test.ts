import { expect, test } from "@jest/globals";
import type { InterfaceFacts } from "../../../../packet/link/interface-facts.ts";
import { InterfaceMonitor } from "../../../../packet/link/interface-monitor.ts";
import type { NativeModule } from "../../../../packet/link/native.ts";
import { decodeLink, decodeMessages, NLM_F_DUMP_INTR } from "../../../../packet/link/netlink.ts";
import { eventually } from "../../../support/eventually.ts";
import { golden } from "../../../support/hex.ts";

const GET_ADDRESS = 22;

/** The messages of a datagram, each by itself. */
function split(octets: Uint8Array): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < octets.length;) {
    const length = Buffer.from(octets).readUInt32LE(at);
    parts.push(Buffer.from(octets.subarray(at, at + length)));
    at += (length + 3) & ~3;
  }
  return parts;
}

/** A kernel that answers requests as one once did, with what the test changes of it. */
class Kernel {
  links = split(golden("netlink/links"));
  addresses = split(golden("netlink/addresses"));
  /** Somebody adds addresses all the time. */
  isChurning = false;
  dumpsOfAddresses = 0;
  #tell: (messages: readonly Buffer[]) => void = () => undefined;

  /** Says that something has changed. */
  notify(): void {
    const [link] = this.links;
    const notice = Buffer.from(link!);
    notice.writeUInt16LE(0, 6);
    this.#tell([notice]);
  }

  module = (): NativeModule => {
    const answer = (request: Uint8Array): void => {
      const header = Buffer.from(request);
      const isOfAddresses = header.readUInt16LE(4) === GET_ADDRESS;
      if (isOfAddresses) this.dumpsOfAddresses++;
      const parts = (isOfAddresses ? this.addresses : this.links).map((part) => {
        const copy = Buffer.from(part);
        if (isOfAddresses && this.isChurning)
          copy.writeUInt16LE(copy.readUInt16LE(6) | NLM_F_DUMP_INTR, 6);
        copy.writeUInt32LE(header.readUInt32LE(8), 8);
        return copy;
      });
      setImmediate(() => this.#tell(parts));
    };
    const tellBy = (tell: (messages: readonly Buffer[]) => void) => (this.#tell = tell);
    class NetlinkSocket {
      readonly octets = new Uint8Array(65_536);
      constructor({ onMessages }: { onMessages: (length: number) => void }) {
        tellBy((messages) => {
          let at = 0;
          for (const message of messages) {
            this.octets.set(message, at);
            at += (message.length + 3) & ~3;
          }
          onMessages(at);
        });
      }
      send = answer;
      close = (): undefined => undefined;
    }
    return { NetlinkSocket } as unknown as NativeModule;
  };
}

test("a link that goes is told while addresses come without pause, with those known last", async () => {
  const kernel = new Kernel();
  const told: (readonly InterfaceFacts[])[] = [];
  using _monitor = new InterfaceMonitor({ changed: (all) => told.push(all) }, kernel.module);
  await eventually(() => told.length === 1);
  const before = new Map(told[0]!.map((each) => [each.name, each]));
  expect([...before.values()].some(({ addresses }) => addresses.length > 0)).toBe(true);

  kernel.isChurning = true;
  kernel.addresses = kernel.addresses.slice(-1);
  kernel.links = kernel.links.filter((part) => {
    const [message] = decodeMessages(part);
    return message === undefined || decodeLink(message)?.name !== "v1";
  });
  kernel.notify();
  await eventually(() => told.length === 2);
  expect(told[1]).toEqual(told[0]!.filter(({ name }) => name !== "v1"));

  // The end of it is seen by itself: nobody has to notify.
  kernel.isChurning = false;
  await eventually(() => told.length === 3);
  expect(told[2]!.flatMap(({ addresses }) => addresses)).toEqual([]);
  const { dumpsOfAddresses } = kernel;
  kernel.notify();
  await eventually(() => kernel.dumpsOfAddresses > dumpsOfAddresses);
  expect(told).toHaveLength(3);
});

test("one that starts in the middle of it tells what it hears", async () => {
  const kernel = new Kernel();
  kernel.isChurning = true;
  const told: (readonly InterfaceFacts[])[] = [];
  using _monitor = new InterfaceMonitor({ changed: (all) => told.push(all) }, kernel.module);
  await eventually(() => told.length === 1);
  expect(kernel.dumpsOfAddresses).toBe(2);
  expect(told[0]!.some(({ addresses }) => addresses.length > 0)).toBe(true);
});
