import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MAX_REPORTED } from "../../../api/speaker-status.ts";
import { gatherFacts, ROUTER_GONE_MS, RoutersHeard } from "../../../speaker/node-facts.ts";

const router = { interface: "eth0", address: "192.0.2.7", id: 51 };

describe("the virtual routers heard", () => {
  test("are each told once, and forgotten when they fall silent", () => {
    const heard = new RoutersHeard();
    expect(heard.hear(router, 0)).toBe(true);
    expect(heard.hear(router, 1000)).toBe(false);
    expect(heard.list(1000 + ROUTER_GONE_MS)).toEqual([router]);
    expect(heard.list(1001 + ROUTER_GONE_MS)).toEqual([]);
    expect(heard.hear(router, 2000 + ROUTER_GONE_MS)).toBe(true);
  });

  test("are no more than fit into a report, whatever somebody makes up", () => {
    const heard = new RoutersHeard();
    for (let id = 0; id < 256; id++) heard.hear({ ...router, id }, 0);
    expect(heard.list(0)).toHaveLength(MAX_REPORTED);
  });

  test("come in the same order, whoever was heard first", () => {
    const [a, b] = [new RoutersHeard(), new RoutersHeard()];
    const other = { ...router, id: 7 };
    for (const each of [router, other]) a.hear(each, 0);
    for (const each of [other, router]) b.hear(each, 0);
    expect(a.list(0)).toEqual(b.list(0));
  });
});

describe("the facts of a node", () => {
  let folder: string;
  const write = async (path: string, text: string): Promise<void> => {
    await mkdir(join(folder, path, ".."), { recursive: true });
    await writeFile(join(folder, path), text);
  };
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "node-facts-"));
    await write("conf/all/arp_ignore", "1\n");
    await write("conf/all/rp_filter", "1\n");
    await write("conf/eth1/rp_filter", "2\n");
    await write("conf/kube-ipvs0/rp_filter", "0\n");
  });
  afterAll(async () => rm(folder, { recursive: true }));

  test("are what the kernel says, with its defaults for what cannot be read", async () => {
    const facts = await gatherFacts(
      {
        node: "node-1",
        interfaces: [
          { name: "eth0", index: 2, subnets: ["192.0.2.0/24"] },
          { name: "eth1", index: 3 },
          { name: "docker0", why: "excluded" },
        ],
        virtualRouters: [router],
        keys: ["0000000a"],
      },
      { settings: join(folder, "conf") },
    );
    expect(facts).toEqual({
      node: "node-1",
      interfaces: [
        { name: "eth0", subnets: ["192.0.2.0/24"], reversePathFilter: 1 },
        { name: "eth1", subnets: [], reversePathFilter: 2 },
      ],
      arpIgnore: 1,
      hasIPVSInterface: true,
      kubeProxy: expect.stringMatching(/^(Healthy|Unhealthy|NoAnswer)$/),
      virtualRouters: [router],
      keys: ["0000000a"],
    });
  });

  test("are harmless where there is nothing to read", async () => {
    const nowhere = { settings: "/nowhere" };
    const known = { node: "node-1", interfaces: [], virtualRouters: [], keys: [] };
    expect(await gatherFacts(known, nowhere)).toMatchObject({
      arpIgnore: 0,
      hasIPVSInterface: false,
    });
  });
});
