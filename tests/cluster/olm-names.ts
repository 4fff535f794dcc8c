/**
 * Names of Services for OLM, which calls its catalogs by name: the test cluster has no DNS. A server on a
 * host of the LAN answers for `SERVICE.NAMESPACE.svc` with the cluster IP of the moment.
 *
 * @see RFC 1035 §4.1 (messages), RFC 2308 §2 (no such name, no such data)
 */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Cluster } from "./cluster.ts";
import { inNamespace, run } from "./command.ts";
import { STATE_DIRECTORY } from "./layout.ts";
import type { LanHost } from "./lan.ts";
import { waitFor } from "./wait.ts";

const TABLE = join(STATE_DIRECTORY, "names.json");
const REFRESH_MS = 500;
const HEADER_LENGTH = 12;
const TYPE_A = 1;
const NO_SUCH_NAME = 3;

/** Addresses by lower-case name, without the last dot. */
export type NameTable = Readonly<Record<string, string>>;

/**
 * Answers one query with one question.
 * @returns undefined for what is no such query
 */
export function answerQuery(query: Uint8Array, names: NameTable): Uint8Array | undefined {
  const view = new DataView(query.buffer, query.byteOffset, query.byteLength);
  if (query.length < HEADER_LENGTH + 5 || view.getUint16(4) !== 1) return undefined;
  const labels: string[] = [];
  let at = HEADER_LENGTH;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    if (length > 63 || at + length + 5 >= query.length) return undefined;
    labels.push(Buffer.from(query.subarray(at + 1, at + 1 + length)).toString("latin1"));
    at += length + 1;
  }
  const type = view.getUint16(at + 1);
  const question = query.subarray(HEADER_LENGTH, at + 5);
  const address = names[labels.join(".").toLowerCase()];
  const hasAnswer = address !== undefined && type === TYPE_A;
  const header = new DataView(new ArrayBuffer(HEADER_LENGTH));
  header.setUint16(0, view.getUint16(0));
  // an authoritative response; recursion as desired
  header.setUint16(2, 0x8400 | (view.getUint16(2) & 0x0100) | (address ? 0 : NO_SUCH_NAME));
  header.setUint16(4, 1);
  header.setUint16(6, hasAnswer ? 1 : 0);
  // the question's name, class IN, one second to live
  const record = [0xc0, HEADER_LENGTH, 0, TYPE_A, 0, 1, 0, 0, 0, 1, 0, 4];
  const data = hasAnswer ? [...record, ...address.split(".").map(Number)] : [];
  return Uint8Array.from([...new Uint8Array(header.buffer), ...question, ...data]);
}

/** The server, and what keeps its names true. */
export class Names implements AsyncDisposable {
  /** Address to ask, from nodes and from pods. */
  readonly address: string;
  readonly #server: ChildProcess;
  readonly #refresh: NodeJS.Timeout;

  private constructor(address: string, server: ChildProcess, refresh: NodeJS.Timeout) {
    this.address = address;
    this.#server = server;
    this.#refresh = refresh;
  }

  /** Starts it on a host, for the Services of a namespace. */
  static async start(cluster: Cluster, host: LanHost, namespace: string): Promise<Names> {
    mkdirSync(dirname(TABLE), { recursive: true });
    writeFileSync(TABLE, "{}");
    // Pods ask from their own addresses, which a host of the LAN would not find the way back to.
    for (const { layout } of cluster.nodes) {
      const way = [layout.podRange.ipv4, "via", layout.address().ipv4];
      await run(["ip", "-n", host.namespace, "route", "replace", ...way]);
    }
    const program = join(import.meta.dirname, "olm-names-server.ts");
    const command = inNamespace(host.namespace, [process.execPath, program, TABLE]);
    const [first = "", ...args] = command;
    const server = spawn(first, args, { stdio: ["ignore", "pipe", "inherit"] });
    process.once("exit", () => void server.kill());
    let listens = false;
    server.stdout.once("data", () => (listens = true));
    await waitFor("the names being served", 30, () => listens);
    let reading = false;
    const refresh = setInterval(() => {
      if (reading) return;
      reading = true;
      void writeTable(cluster, namespace).finally(() => (reading = false));
    }, REFRESH_MS);
    return new Names(host.addresses.ipv4, server, refresh);
  }

  /** Ends it. */
  [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#refresh);
    this.#server.kill();
    return Promise.resolve();
  }
}

interface Services {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly spec: { readonly clusterIP?: string };
  }[];
}

async function writeTable(cluster: Cluster, namespace: string): Promise<void> {
  try {
    const text = await cluster.kubectl(["-n", namespace, "get", "services", "-o", "json"]);
    const entries = (JSON.parse(text) as Services).items.flatMap(({ metadata, spec }) =>
      /^[0-9.]+$/.test(spec.clusterIP ?? "")
        ? [[`${metadata.name}.${namespace}.svc`, spec.clusterIP ?? ""] as const]
        : [],
    );
    writeFileSync(TABLE, JSON.stringify(Object.fromEntries(entries)));
  } catch {
    // The API server is away, or the cluster goes down: the names of before are as good as any.
  }
}
