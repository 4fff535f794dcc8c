/** A process that speaks with others on loopback, and says what it does; started by a test. */
import type { Address } from "../../packet/address/address.ts";
import type { MacAddress } from "../../packet/address/mac.ts";
import { listCandidacy } from "../../speaker/candidacy.ts";
import { rankOf } from "../../speaker/claims.ts";
import { Conversation } from "../../speaker/conversation.ts";
import { makeKey } from "../../speaker/seal.ts";

/** What the process is told. */
export interface Setting {
  readonly node: string;
  readonly ports: Readonly<Record<string, number>>;
  readonly addresses: readonly Address[];
  readonly secret: string;
}

/** What it says: addresses that it begins or ceases to answer for, or of how many it knows the owner. */
export type Said =
  | { readonly answers: boolean; readonly addresses: readonly Address[] }
  | { readonly known: number };

const LOOPBACK = "127.0.0.1" as Address;
const { node, ports, addresses, secret } = JSON.parse(process.argv[2] ?? "") as Setting;
const names = Object.keys(ports);
const say = (said: Said): void => void process.send?.(said);
const hints = Object.entries(ports).map(([name, port]) => ({
  name,
  endpoints: [{ address: LOOPBACK, port }],
}));

const count = (): void => {
  const { protocol } = conversation;
  say({ known: addresses.filter((each) => protocol.view(each).owner !== undefined).length });
};

const conversation = new Conversation({
  node,
  cluster: "test",
  keys: [makeKey(Buffer.from(secret, "hex"))],
  interval: 200,
  multiplier: 4,
  port: ports[node] ?? 0,
  endpoints: [{ address: LOOPBACK, port: ports[node] ?? 0 }],
  links: [
    {
      name: "eth0",
      mac: `02:00:00:00:00:0${names.indexOf(node)}` as MacAddress,
      prefixes: ["192.0.2.0/24"],
    },
  ],
  candidacies: (address) =>
    listCandidacy(names.toSorted((a, b) => (rankOf(a, address) < rankOf(b, address) ? -1 : 1))),
  ground: {
    withdraw: (gone) => say({ answers: false, addresses: gone }),
    activate: (taken) => say({ answers: true, addresses: taken }),
    announce: () => undefined,
    forget: () => undefined,
    fence: () => undefined,
    witness: () => Promise.resolve({ answered: false, heard: true, reached: true }),
    probe: () => Promise.resolve({ taken: false, heard: true }),
  },
  reports: {
    owners: () => queueMicrotask(count),
    moved: () => undefined,
    members: () => undefined,
    left: () => undefined,
    trouble: (message) => process.stderr.write(`${message}\n`),
  },
  now: () => performance.now(),
});
conversation.step({ type: "hints", hints });
conversation.step({ type: "candidacies", addresses });
