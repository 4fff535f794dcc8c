import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { attempt, type Outcome } from "../cluster/command.ts";
import { lackOfRoom } from "../cluster/preconditions.ts";
import { describeWith } from "../support/requirements.ts";

const CLI = join(import.meta.dirname, "../cluster/cli.ts");
const scratch = mkdtempSync(join(tmpdir(), "wrong-use-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

async function cli(
  args: string[],
  env: Record<string, string> = {},
  before: string[] = [],
): Promise<Outcome> {
  return await attempt([...before, process.execPath, CLI, ...args], {
    env: { NODE_OPTIONS: "", ...env },
  });
}

/** Exactly one line, which begins with `error: `, and exit status 2. */
function expectRefusal(outcome: Outcome, reason: RegExp): void {
  expect(outcome.stderr.trimEnd().split("\n")).toEqual([expect.stringMatching(/^error: /)]);
  expect(outcome.stderr).toMatch(reason);
  expect(outcome.status).toBe(2);
}

describe("the cluster is refused in one clear line", () => {
  for (const { name, args, reason } of [
    { name: "without a verb", args: [], reason: /usage: / },
    { name: "with an unknown verb", args: ["sideways"], reason: /usage: / },
    {
      name: "with no nodes",
      args: ["up", "--nodes", "0"],
      reason: /NODES=0: a cluster has 1 to 6 nodes/,
    },
    { name: "with too many nodes", args: ["up", "--nodes", "7"], reason: /NODES=7/ },
    {
      name: "with a number of nodes that is none",
      args: ["up", "--nodes", "three"],
      reason: /NODES=NaN/,
    },
    {
      name: "with an unknown family",
      args: ["up", "--family", "ipx"],
      reason: /IP_FAMILY=ipx: use dual/,
    },
    {
      name: "with three LANs",
      args: ["up", "--lans", "3"],
      reason: /LANS=3: a cluster has 1 or 2/,
    },
    { name: "with an unknown option", args: ["up", "--speed", "9"], reason: /--speed/ },
  ])
    test(name, async () => expectRefusal(await cli(args), reason));

  test("with a CLUSTER that is no digit", async () =>
    expectRefusal(await cli(["status"], { CLUSTER: "blue" }), /CLUSTER=blue: use one digit/));
});

describe("room on the machine", () => {
  const GIBI = 2 ** 30;
  for (const { name, nodes, room, lack } of [
    {
      name: "enough of both",
      nodes: 3,
      room: { memory: 4 * GIBI, disk: 8 * GIBI },
      lack: undefined,
    },
    {
      name: "too little memory",
      nodes: 3,
      room: { memory: GIBI, disk: 8 * GIBI },
      lack: /too little memory: 1024 MiB .* 3 nodes need 2100 MiB/,
    },
    {
      name: "too little disk",
      nodes: 6,
      room: { memory: 9 * GIBI, disk: GIBI },
      lack: /too little disk .* 6 nodes need 2900 MiB/,
    },
  ])
    test(name, () => {
      if (lack === undefined) expect(lackOfRoom(nodes, room)).toBeUndefined();
      else expect(lackOfRoom(nodes, room)).toMatch(lack);
    });
});

describeWith("root", "setpriv")("as root that lacks something", () => {
  // with a cluster up, `up` has nothing to refuse
  beforeAll(async () => {
    await cli(["down"]);
  }, 60_000);

  test("another user than root", async () => {
    // node and the tree may be unreadable for others: only the user id changes, capabilities to read stay
    const user = [
      "setpriv",
      "--reuid",
      "65534",
      "--inh-caps",
      "+dac_override",
      "--ambient-caps",
      "+dac_override",
    ];
    expectRefusal(await cli(["up"], {}, user), /needs root .*: run it with sudo/);
  });

  test("no right to create namespaces", async () => {
    const rights = ["setpriv", "--bounding-set", "-sys_admin"];
    expectRefusal(await cli(["up"], {}, rights), /CAP_SYS_ADMIN/);
  });

  test("Go is missing", async () => {
    const folders = (process.env["PATH"] ?? "").split(":");
    const path = folders.filter((folder) => !existsSync(join(folder, "go"))).join(":");
    const outcome = await cli(["up"], { XDG_CACHE_HOME: scratch, PATH: path });
    expectRefusal(outcome, /Go is missing: install Go 1.21 or newer/);
  });

  test("Go is too old", async () => {
    const folder = mkdtempSync(join(scratch, "old-go-"));
    writeFileSync(join(folder, "go"), "#!/bin/sh\necho go1.19.8\n");
    chmodSync(join(folder, "go"), 0o755);
    const path = `${folder}:${process.env["PATH"] ?? ""}`;
    const outcome = await cli(["up"], { XDG_CACHE_HOME: scratch, PATH: path });
    expectRefusal(outcome, /go1.19.8 is too old: install Go 1.21 or newer/);
  });

  test("a port that is no port", async () => {
    expectRefusal(
      await cli(["up"], { CLUSTER_PORT: "http" }),
      /CLUSTER_PORT=http: use a port number/,
    );
  });

  test("a port that is in use", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = address !== null && typeof address === "object" ? address.port : 0;
    const outcome = await cli(["up"], { CLUSTER_PORT: String(port) });
    server.close();
    expectRefusal(outcome, /is in use: end its user, or choose another with CLUSTER_PORT/);
  });
});
