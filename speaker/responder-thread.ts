/**
 * The responder thread: everything that must not wait for the API server's objects to be parsed.
 * It has its own event loop, links and timer; the main thread sends it tables and hears counters.
 */
import { parentPort } from "node:worker_threads";
import { afPacketLink } from "../packet/link/af-packet.ts";
import { Announcing } from "./announcing.ts";
import { watchInterfaces, type InterfaceWatch, type JudgedInterfaces } from "./interfaces.ts";
import type { Command, Report, ResponderCounters } from "./thread-protocol.ts";

/** How often counters that changed are reported. */
const COUNTERS_MS = 1000;

const port = parentPort;
if (port === null) throw new TypeError("responder-thread.ts is a worker's entry, not a program");
const report = (message: Report): void => port.postMessage(message);

let timer: NodeJS.Timeout | undefined;
const announcing = new Announcing({
  openLink: (interfaceName) => afPacketLink({ interfaceName }),
  report,
  now: () => performance.now(),
  wakeAt: (time) => {
    clearTimeout(timer);
    if (time === undefined) return;
    timer = setTimeout(() => announcing.wake(), Math.max(0, time - performance.now()));
  },
  random: Math.random,
});

let reportedInterfaces = "";

function interfacesChanged({ usable, unusable }: JudgedInterfaces): void {
  announcing.setInterfaces(usable);
  const interfaces = [
    ...usable.map(({ name }) => ({ name })),
    ...unusable.map(({ name, message }) => ({ name, why: message })),
  ];
  const text = JSON.stringify(interfaces);
  if (text === reportedInterfaces) return;
  reportedInterfaces = text;
  report({ kind: "interfaces", interfaces });
  report({ kind: "ready" });
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

let reportedCounters = "";
const counting = setInterval(() => {
  const counters: ResponderCounters = announcing.counters();
  const text = JSON.stringify(counters);
  if (text === reportedCounters) return;
  reportedCounters = text;
  report({ kind: "counters", counters });
}, COUNTERS_MS);

let watch: InterfaceWatch | undefined;

port.on("message", (command: Command) => {
  switch (command.kind) {
    case "configure": {
      const { excludedInterfaces } = command;
      // The first configuration says which interfaces may be touched at all.
      if (watch === undefined) watch = watchFrom(excludedInterfaces);
      else
        for (const message of watch.setExcluded(excludedInterfaces))
          report({ kind: "trouble", message });
      break;
    }
    case "table":
      announcing.change(command.announce, command.withdraw);
      break;
    case "stop":
      announcing.close();
      watch?.[Symbol.dispose]();
      clearInterval(counting);
      report({ kind: "stopped" });
      port.close();
      break;
  }
});
