/**
 * A process inside a network namespace that opens one AF_PACKET link and does what it is told over
 * the process channel. Tests talk to it through `agent-client.ts`.
 */
import { afPacketLink, NEIGHBOR_FILTER } from "../../packet/link/af-packet.ts";
import type { InterfaceFacts } from "../../packet/link/interface-facts.ts";
import { readInterfaces } from "../../packet/link/interface-files.ts";
import { InterfaceMonitor } from "../../packet/link/interface-monitor.ts";
import { LinkError, receivedAtMs, type Link } from "../../packet/link/link.ts";
import { nativeModule } from "../../packet/link/native.ts";
import { ExchangeRing, withPcap } from "../../packet/link/pcap.ts";
import type { MacAddress } from "../../packet/address/mac.ts";
import { defaultGateways } from "../../packet/link/gateways.ts";
import { encodeBpf } from "../../packet/wire/bpf.ts";
import { LanWitness, SolicitedNodeGroups } from "../../packet/link/witness.ts";
import { address, isIPv6 } from "../../packet/address/address.ts";
import type { IPv6Address } from "../../packet/address/ipv6.ts";
import { watchInterfaces } from "../../speaker/interfaces.ts";
import type { AgentEvent, Answer, Command, SeenFrame, Watched } from "./agent-client.ts";

let link: Link | null = null;
const frames: SeenFrame[] = [];
const events: AgentEvent[] = [];
const pcap: Uint8Array[] = [];
const ring = new ExchangeRing();
let answering = false;
let witness: LanWitness | null = null;
let groups: SolicitedNodeGroups | null = null;
let watch: Disposable | null = null;
let watched: Watched = { judged: null, told: 0, polling: false };
let facts: readonly InterfaceFacts[] = [];

function handleFrame(octets: Uint8Array, atMs: number, kind: string): void {
  frames.push({ octets: octets.slice(), atMs, nowMs: Date.now(), kind });
  // What a responder does: answer from within the handler.
  if (answering) link?.send(octets);
}

function startWatch(excluded: readonly string[], netlink: boolean): Disposable {
  return watchInterfaces({
    excluded,
    changed: (judged) => {
      watched = { ...watched, judged, told: watched.told + 1 };
    },
    polling: () => {
      watched = { ...watched, polling: true };
    },
    monitor: (handlers) =>
      new InterfaceMonitor(
        {
          ...handlers,
          changed: (interfaces) => {
            facts = interfaces;
            handlers.changed(interfaces);
          },
        },
        netlink ? nativeModule : refuse,
        50,
      ),
  });
}

function witnessOf(interfaceName: string): LanWitness {
  witness ??= new LanWitness(interfaceName);
  return witness;
}

function ipv6(text: string): IPv6Address {
  const value = address(text);
  if (!isIPv6(value)) throw new TypeError(`${text} is no IPv6 address`);
  return value;
}

function refuse(): never {
  throw new Error("no netlink in this test");
}

function needed(): Link {
  if (link === null) throw new Error("the agent has no link open");
  return link;
}

function sendLong(octets: Uint8Array): number {
  const socket = new (nativeModule().PacketSocket)({
    interfaceIndex: needed().interfaceIndex,
    protocols: [0x88b5],
    filters: [encodeBpf(NEIGHBOR_FILTER, true)],
    slots: 1,
    slotSize: 9000,
    receiveBuffer: 0,
    onBatch: () => undefined,
    onError: () => undefined,
  });
  socket.memory.sendOctets.set(octets);
  socket.memory.sendLengths[0] = octets.length;
  const taken = socket.flush(1);
  socket.close();
  return taken;
}

function obey(command: Command): unknown {
  switch (command.name) {
    case "open": {
      const open = ring.watch(
        withPcap(afPacketLink(command.options), (octets) => pcap.push(octets)),
      );
      link = open({
        frame: (frame) => handleFrame(frame.octets, receivedAtMs(frame), frame.kind),
        down: (reason, error) =>
          events.push(error ? `down ${reason} ${error.code}` : `down ${reason}`),
        up: () => events.push("up"),
        macChanged: (mac) => events.push(`mac ${mac}`),
      });
      return null;
    }
    case "describe": {
      const { interfaceName, interfaceIndex, macAddress, up } = needed();
      return { interfaceName, interfaceIndex, macAddress, up };
    }
    case "send":
      for (const octets of command.frames) needed().send(octets);
      return null;
    case "sendBatch":
      return needed().sendBatch(command.frames);
    case "sendLong":
      return sendLong(command.frame);
    case "echo":
      answering = command.on;
      return null;
    case "stall":
      // A main loop that does not turn, as under a long computation.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, command.ms);
      return null;
    case "setFilter":
      needed().setFilter(command.programs, command.etherType);
      return null;
    case "joinGroup":
      needed().joinGroup(command.group as MacAddress);
      return null;
    case "leaveGroup":
      needed().leaveGroup(command.group as MacAddress);
      return null;
    case "refresh":
      needed().refresh();
      return null;
    case "statistics":
      return needed().statistics();
    case "frames":
      return frames.splice(0);
    case "events":
      return [...events];
    case "pcap":
      return new Uint8Array(Buffer.concat(pcap));
    case "exchanges":
      return ring.toPcap();
    case "watch":
      watch = startWatch(command.excluded, command.netlink);
      return null;
    case "interfaces":
      return watched;
    case "facts":
      return { netlink: facts, files: readInterfaces() };
    case "witness":
      return witnessOf(command.interfaceName).echo(address(command.target), command.timeoutMs);
    case "groups":
      groups ??= new SolicitedNodeGroups(command.interfaceIndex);
      for (const target of command.join ?? []) groups.join(ipv6(target));
      for (const target of command.leave ?? []) groups.leave(ipv6(target));
      return groups.size;
    case "gateways":
      return defaultGateways();
    case "close":
      witness?.[Symbol.dispose]();
      groups?.[Symbol.dispose]();
      watch?.[Symbol.dispose]();
      link?.[Symbol.dispose]();
      return null;
  }
}

async function answerTo(command: Command): Promise<Answer> {
  try {
    return { id: command.id, ok: true, value: await obey(command) };
  } catch (error) {
    const code = error instanceof LinkError ? error.code : "";
    return { id: command.id, ok: false, code, message: String(error) };
  }
}

process.on("message", (command: Command) => {
  void answerTo(command).then((answer) => process.send?.(answer));
});
process.send?.({ id: 0, ok: true, value: "ready" } satisfies Answer);
