/**
 * The responder thread: everything that must not wait for the API server's objects to be parsed.
 * It has its own event loop, links and timer; the main thread sends it tables and hears counters.
 */
import { parentPort } from "node:worker_threads";
import { afPacketLink } from "../packet/link/af-packet.ts";
import { formatPrefix } from "../packet/address/prefix.ts";
import { LinkError } from "../packet/link/link.ts";
import { ExchangeRing } from "../packet/link/pcap.ts";
import { Announcing } from "./announcing.ts";
import { Participant } from "./participant.ts";
import { watchInterfaces, type InterfaceWatch, type JudgedInterfaces } from "./interfaces.ts";
import type { Command, InterfaceNews, Report } from "./thread-protocol.ts";

/** How often counts are reported, if there are any. */
const COUNTERS_MS = 1000;
/** When there is more to report than one report takes. */
const MORE_COUNTERS_MS = 50;
/** An interface that could not be opened is tried again after this. */
const REOPEN_MS = 1000;

const port = parentPort;
if (port === null) throw new TypeError("responder-thread.ts is a worker's entry, not a program");
const report = (message: Report): void => port.postMessage(message);

const participant: Participant = new Participant({
  announcing: () => announcing,
  openLink: (interfaceName) => afPacketLink({ interfaceName }),
  report,
});

const ring = new ExchangeRing();
let timer: NodeJS.Timeout | undefined;
const announcing: Announcing = new Announcing({
  openLink: (interfaceName) => ring.watch(afPacketLink({ interfaceName })),
  report: (message) => {
    if (message.kind === "probed" && participant.probed(message.address, message.takenBy)) return;
    report(message);
  },
  mayAnswer: (frame) => participant.mayAnswer(frame),
  rival: (address, mac) => participant.rival(address, mac),
  now: () => performance.now(),
  wakeAt: (time) => {
    clearTimeout(timer);
    if (time === undefined) return;
    timer = setTimeout(() => announcing.wake(), Math.max(0, time - performance.now()));
  },
  random: Math.random,
});

let reportedInterfaces = "";
let reopening: NodeJS.Timeout | undefined;

function interfacesChanged(judged: JudgedInterfaces): void {
  const refused = announcing.setInterfaces(judged.usable);
  participant.setInterfaces(judged.usable.filter(({ name }) => !refused.has(name)));
  clearTimeout(reopening);
  // Lack of a capability mends only with another process.
  if ([...refused.values()].some((error) => !isDenied(error)))
    reopening = setTimeout(() => interfacesChanged(judged), REOPEN_MS);
  const interfaces: InterfaceNews[] = [
    ...judged.usable.map(({ name, index, subnets }) => {
      const why = refused.get(name)?.message;
      if (why !== undefined) return { name, why };
      return { name, index, subnets: subnets.map(formatPrefix) };
    }),
    ...judged.unusable.map(({ name, reason, message }) => ({ name, reason, why: message })),
  ];
  const text = JSON.stringify(interfaces);
  if (text === reportedInterfaces) return;
  reportedInterfaces = text;
  report({ kind: "interfaces", interfaces });
  report({ kind: "ready" });
}

function isDenied(error: Error): boolean {
  return error instanceof LinkError && error.code === "PermissionDenied";
}

function watchFrom(excluded: readonly string[]): InterfaceWatch {
  return watchInterfaces({
    excluded,
    changed: interfacesChanged,
    polling: (cause) =>
      report({
        kind: "trouble",
        message: `interfaces are polled, no netlink socket: ${String(cause)}`,
      }),
  });
}

function reportCounters(): void {
  const { counters, more } = announcing.takeCounters();
  const conversation = participant.takeCounts();
  const happened =
    counters.interfaces.length + counters.addresses.length + (conversation?.received ?? 0) > 0;
  if (happened)
    report({ kind: "counters", counters: { ...counters, ...(conversation && { conversation }) } });
  counting = setTimeout(reportCounters, more ? MORE_COUNTERS_MS : COUNTERS_MS);
}

let counting = setTimeout(reportCounters, COUNTERS_MS);
let watch: InterfaceWatch | undefined;

function configure({
  excludedInterfaces,
  refreshIntervalMs,
}: Extract<Command, { kind: "configure" }>): void {
  if (refreshIntervalMs !== undefined) announcing.setRefreshInterval(refreshIntervalMs);
  // The first configuration says which interfaces may be touched at all.
  if (watch === undefined) watch = watchFrom(excludedInterfaces);
  else
    for (const message of watch.setExcluded(excludedInterfaces))
      report({ kind: "trouble", message });
}

function stop(from: NonNullable<typeof port>): void {
  participant.close();
  announcing.close();
  watch?.[Symbol.dispose]();
  clearTimeout(counting);
  clearTimeout(reopening);
  report({ kind: "stopped" });
  from.close();
}

port.on("message", (command: Command) => {
  switch (command.kind) {
    case "configure":
      configure(command);
      break;
    case "table":
      announcing.change(command.announce, command.withdraw);
      break;
    case "probe":
      announcing.probe(command.entries, command.pace);
      break;
    case "colleagues":
      announcing.setColleagues(command.macs);
      break;
    case "filter":
      announcing.takeFilter(command, command.programs, command.exact);
      break;
    case "exchanges":
      report({ kind: "exchanges", pcap: ring.toPcap() });
      break;
    case "stop":
      stop(port);
      break;
    case "converse":
    case "keys":
    case "hints":
    case "candidacies":
    case "settings":
    case "versions":
    case "echoed":
    case "plight":
    case "drain":
    case "leave":
      participant.take(command);
      break;
  }
});
