/**
 * What a test needs of the machine. A suite whose needs are not met is skipped by name, with the
 * reason and the remedy; with CI=true it fails instead, so that nothing is skipped unseen.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

import { describe, expect, test } from "@jest/globals";

/** Programs of the system that tests call, and the Debian package of each. */
const TOOLS = {
  arping: "iputils-arping",
  ethtool: "ethtool",
  ip: "iproute2",
  ndisc6: "ndisc6",
  nft: "nftables",
  nsenter: "util-linux",
  ping: "iputils-ping",
  setpriv: "util-linux",
  tcpdump: "tcpdump",
  tshark: "tshark",
} as const;

/** Something that a test can need. */
export type Requirement = "linux" | "root" | "netns" | "native" | "rawSocket" | keyof typeof TOOLS;

const NATIVE_MODULE = join(import.meta.dirname, "../../build/packet_socket.node");
const RAW_SOCKET = join(
  import.meta.dirname,
  "../../node_modules/raw-socket/build/Release/raw.node",
);

interface Lack {
  readonly reason: string;
  readonly remedy: string;
}

const checks: Record<Exclude<Requirement, keyof typeof TOOLS>, () => Lack | null> = {
  linux: () =>
    process.platform === "linux"
      ? null
      : { reason: `the system is ${process.platform}`, remedy: "run it on Linux" },
  root: () =>
    process.getuid?.() === 0
      ? null
      : { reason: "the user is not root", remedy: "run it as root (sudo)" },
  netns: () => lackOf("linux") ?? lackOf("root") ?? lackOf("ip") ?? lackOf("nsenter") ?? unshare(),
  rawSocket: () =>
    existsSync(RAW_SOCKET)
      ? null
      : { reason: "the package raw-socket is not built", remedy: "make deps" },
  native: () =>
    existsSync(process.env["PACKET_SOCKET"] ?? NATIVE_MODULE)
      ? null
      : { reason: "the native module is not built", remedy: "make build/packet_socket.node" },
};

function unshare(): Lack | null {
  const { status, stderr } = spawnSync("unshare", ["--net", "true"], { encoding: "utf8" });
  if (status === 0) return null;
  return {
    reason: `no network namespace can be made (${(stderr || "unshare is missing").trim()})`,
    remedy: "give the process CAP_SYS_ADMIN",
  };
}

function isTool(name: Requirement): name is keyof typeof TOOLS {
  return name in TOOLS;
}

function hasTool(name: string): boolean {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return folders.some((folder) => existsSync(join(folder, name)));
}

const known = new Map<Requirement, Lack | null>();

/** Tells what is missing for a requirement, or null when it is met. */
export function lackOf(requirement: Requirement): Lack | null {
  const before = known.get(requirement);
  if (before !== undefined) return before;
  const lack = isTool(requirement) ? lackOfTool(requirement) : checks[requirement]();
  known.set(requirement, lack);
  return lack;
}

function lackOfTool(name: keyof typeof TOOLS): Lack | null {
  if (hasTool(name)) return null;
  return { reason: `there is no ${name}`, remedy: `apt-get install ${TOOLS[name]}` };
}

/** A `describe` that says why it skips. */
export type Suite = (name: string, body: () => void) => void;

/**
 * Gives a `describe` for a suite that needs something of the machine.
 * @example const suite = describeWith("netns", "tshark"); suite("pcap files", () => { … });
 */
export function describeWith(...requirements: readonly Requirement[]): Suite {
  const lacks = requirements.flatMap((requirement) => lackOf(requirement) ?? []);
  if (lacks.length === 0) return describe;
  const why = lacks.map(({ reason, remedy }) => `${reason}: ${remedy}`).join("; ");
  if (process.env["CI"] === "true") {
    return (name) => {
      describe(name, () => {
        test("has what it needs", () => {
          expect(`missing: ${why}`).toBe("nothing missing");
        });
      });
    };
  }
  return (name, body) => {
    process.stderr.write(`skipped: ${name}: ${why}\n`);
    describe.skip(`${name} (${why})`, body);
  };
}
