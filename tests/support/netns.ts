/**
 * A LAN of network namespaces: hosts with one interface `eth0` each, joined by a bridge in a
 * namespace of its own, with no way out. Names carry the process id, so that parallel runs do not
 * meet, and what a killed run left behind is swept by the next.
 *
 *     await using lan = await createLan({ hosts: 2 });
 *     lan.host(1).run("arping", "-c1", lan.host(2).ipv4);
 */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { promisify } from "node:util";

const execute = promisify(execFile);
const FOLDER = "/run/netns";
const NAME = /^lan-(\d+)-/;

/** Output of a program that ended well. */
export interface Output {
  readonly stdout: string;
  readonly stderr: string;
}

/** A network namespace. */
export interface Namespace {
  readonly name: string;
  /** File to enter it by: `nsenter --net=PATH`. */
  readonly path: string;
  /** Runs a program in it. @throws when it ends with an error; the message holds what it wrote */
  run(program: string, ...args: readonly string[]): Promise<Output>;
  /** As {@link Namespace.run}, for `ip`. */
  ip(...args: readonly string[]): Promise<Output>;
  /** Starts a program in it; it is killed when the LAN is taken down. */
  start(program: string, ...args: readonly string[]): ChildProcess;
}

/** A host of the LAN. */
export interface Host extends Namespace {
  readonly interfaceName: "eth0";
  readonly mac: string;
  readonly ipv4: string;
  readonly ipv6: string;
  /** The switch's end of the host's cable, in namespace {@link Lan.switch}. */
  readonly port: string;
}

/** A LAN; disposing it removes every namespace and ends every program in them. */
export interface Lan extends AsyncDisposable {
  readonly switch: Namespace;
  readonly hosts: readonly Host[];
  /** Host by number, from 1. */
  host(number: number): Host;
}

/** What the LAN shall be like. */
export interface LanOptions {
  readonly hosts: number;
  /** First three octets of the IPv4 /24; host n is .n. */
  readonly ipv4?: string;
  /** IPv6 /64 without the final colons; host n is ::n. */
  readonly ipv6?: string;
}

let counter = 0;

/** Makes a LAN. A failure half way takes down what was made. Needs root. */
export async function createLan(options: LanOptions): Promise<Lan> {
  await sweep();
  const stack = new AsyncDisposableStack();
  try {
    return await build(`lan-${process.pid}-${++counter}`, options, stack);
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

async function build(
  prefix: string,
  options: LanOptions,
  stack: AsyncDisposableStack,
): Promise<Lan> {
  const bridge = await makeNamespace(`${prefix}-sw`, stack);
  await bridge.ip("link", "add", "br0", "type", "bridge", "mcast_snooping", "0");
  await bridge.ip("link", "set", "br0", "up");
  const hosts: Host[] = [];
  for (let number = 1; number <= options.hosts; number++) {
    const namespace = await makeNamespace(`${prefix}-h${number}`, stack);
    hosts.push(await addHost(bridge, namespace, number, options));
  }
  return {
    switch: bridge,
    hosts,
    host: (number) => {
      const host = hosts[number - 1];
      if (host === undefined) throw new RangeError(`the LAN has no host ${number}`);
      return host;
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Removes namespaces of processes that are no more. */
export async function sweep(): Promise<void> {
  const names = existsSync(FOLDER) ? readdirSync(FOLDER) : [];
  for (const name of names) {
    const pid = NAME.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) await removeNamespace(name);
  }
}

async function removeNamespace(name: string): Promise<void> {
  // Another run may sweep at the same time: gone is gone.
  await execute("ip", ["netns", "del", name]).catch(() => undefined);
}

async function makeNamespace(name: string, stack: AsyncDisposableStack): Promise<Namespace> {
  await execute("ip", ["netns", "add", name]);
  stack.defer(() => removeNamespace(name));
  const path = `${FOLDER}/${name}`;
  const inside = (program: string, args: readonly string[]): string[] => [
    `--net=${path}`,
    "--",
    program,
    ...args,
  ];
  const run = (program: string, ...args: readonly string[]): Promise<Output> =>
    execute("nsenter", inside(program, args), { encoding: "utf8" });
  const ip = (...args: readonly string[]): Promise<Output> => run("ip", ...args);
  const start = (program: string, ...args: readonly string[]): ChildProcess => {
    const child = spawn("nsenter", inside(program, args));
    stack.defer(() => ended(child));
    return child;
  };
  await ip("link", "set", "lo", "up");
  return { name, path, run, ip, start };
}

/** Kills a program of ours, if it still runs, and waits for its end. */
function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.kill("SIGKILL");
  });
}

async function addHost(
  bridge: Namespace,
  namespace: Namespace,
  number: number,
  options: LanOptions,
): Promise<Host> {
  const host: Host = {
    ...namespace,
    interfaceName: "eth0",
    mac: `02:00:00:00:00:${number.toString(16).padStart(2, "0")}`,
    ipv4: `${options.ipv4 ?? "10.99.0"}.${number}`,
    ipv6: `${options.ipv6 ?? "fd00:99:"}:${number.toString(16)}`,
    port: `port${number}`,
  };
  await connectHost(bridge, host);
  return host;
}

/** Gives a host its interface and addresses: at first, and again after it was deleted. */
export async function connectHost(bridge: Namespace, host: Host): Promise<void> {
  const peer = ["type", "veth", "peer", "name", "eth0", "netns", host.name];
  await bridge.ip("link", "add", host.port, ...peer);
  await bridge.ip("link", "set", host.port, "master", "br0", "up");
  await host.ip("link", "set", "eth0", "address", host.mac, "up");
  await host.ip("addr", "add", `${host.ipv4}/24`, "dev", "eth0");
  await host.ip("addr", "add", `${host.ipv6}/64`, "dev", "eth0", "nodad");
}
