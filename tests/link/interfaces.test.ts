import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";

import { eventually } from "../support/eventually.ts";
import { connectHost, createLan, type Lan } from "../support/netns.ts";
import { describeWith } from "../support/requirements.ts";
import { Agent } from "./agent-client.ts";

jest.setTimeout(30_000);

const suite = describeWith("linux", "root", "netns", "native");

let lan: Lan;
beforeEach(async () => {
  lan = await createLan({ hosts: 1 });
});
afterEach(async () => {
  await lan[Symbol.asyncDispose]();
});

/** Gives the agent a /sys of its own namespace, as a container's runtime does. */
const WITH_SYS = ["unshare", "-m", "sh", "-c", 'mount -t sysfs sysfs /sys && exec "$@"', "sh"];

/** Interfaces as `name` when usable, else `name: reason`. */
async function seen(agent: Agent): Promise<string[]> {
  const { judged } = await agent.interfaces();
  const usable = judged?.usable.map(({ name }) => name) ?? [];
  const others = judged?.unusable.map(({ name, reason }) => `${name}: ${reason}`) ?? [];
  return [...usable, ...others].filter((text) => !text.startsWith("lo"));
}

async function eventuallySees(agent: Agent, expected: readonly string[]): Promise<void> {
  await eventually(async () => {
    expect(await seen(agent)).toEqual(expected);
  });
}

for (const netlink of [true, false]) {
  suite(`watching interfaces ${netlink ? "over netlink" : "by polling"}`, () => {
    test("follows what happens to an interface, from cable to MAC address", async () => {
      const host = lan.host(1);
      await using agent = await Agent.start(host, WITH_SYS);
      await agent.tell("watch", { excluded: ["^docker"], netlink });
      await eventuallySees(agent, ["eth0"]);
      expect((await agent.interfaces()).polling).toBe(!netlink);

      await lan.switch.ip("link", "set", host.port, "down");
      await eventuallySees(agent, ["eth0: NoCarrier"]);
      await lan.switch.ip("link", "set", host.port, "up");
      await eventuallySees(agent, ["eth0"]);

      await host.ip("link", "set", "eth0", "down");
      await eventuallySees(agent, ["eth0: Down"]);
      await host.ip("link", "set", "eth0", "arp", "off", "up");
      await eventuallySees(agent, ["eth0: NoArp"]);
      await host.ip("link", "set", "eth0", "arp", "on");
      await host.ip("addr", "flush", "dev", "eth0");
      await eventuallySees(agent, ["eth0: NoAddress"]);
      await host.ip("addr", "add", "192.0.2.7/25", "dev", "eth0");
      await eventually(async () => {
        const [one] = (await agent.interfaces()).judged?.usable ?? [];
        expect(one).toMatchObject({ addresses: ["192.0.2.7"], mac: host.mac });
        expect(one?.subnets).toEqual([{ family: "ipv4", network: 0xc0000200n, length: 25 }]);
      });

      await host.ip("link", "set", "eth0", "address", "02:00:00:00:99:99");
      await eventually(async () => {
        const [one] = (await agent.interfaces()).judged?.usable ?? [];
        expect(one?.mac).toBe("02:00:00:00:99:99");
      });
      await host.ip("link", "del", "eth0");
      await eventuallySees(agent, []);
      await connectHost(lan.switch, host);
      await eventuallySees(agent, ["eth0"]);
    });

    test("tells ports of a bridge and excluded names from others", async () => {
      const host = lan.host(1);
      await host.ip("link", "add", "br1", "type", "bridge");
      await host.ip("link", "set", "eth0", "master", "br1");
      await host.ip("link", "add", "docker0", "type", "bridge");
      await using agent = await Agent.start(host, WITH_SYS);
      await agent.tell("watch", { excluded: ["^docker"], netlink });
      await eventuallySees(agent, ["eth0: HasMaster", "br1: Down", "docker0: Excluded"]);
      const port = (await agent.interfaces()).judged?.unusable.find(({ name }) => name === "eth0");
      expect(port?.message).toContain("bridge br1");
    });
  });
}

suite("netlink and files", () => {
  test("tell the same of every interface", async () => {
    const host = lan.host(1);
    await host.ip("link", "add", "br1", "type", "bridge");
    await host.ip("link", "add", "v1", "type", "veth", "peer", "name", "v2");
    await host.ip("link", "set", "v1", "master", "br1", "up");
    await using agent = await Agent.start(host, WITH_SYS);
    await agent.tell("watch", { excluded: [], netlink: true });
    await eventually(async () => {
      const { netlink, files } = (await agent.tell("facts", {})) as Record<string, unknown>;
      expect(netlink).toEqual(files);
      expect(netlink).toHaveLength(5);
    });
  });

  test("a burst of changes is told in few steps, the last of them whole", async () => {
    const host = lan.host(1);
    await using agent = await Agent.start(host);
    await agent.tell("watch", { excluded: ["^none$"], netlink: true });
    await eventuallySees(agent, ["eth0"]);
    const burst =
      "for i in $(seq 2 200); do echo addr add 10.0.$i.1/24 dev eth0; done | ip -batch -";
    await host.run("sh", "-c", burst);
    await eventually(async () => {
      const { judged } = await agent.interfaces();
      expect(judged?.usable[0]?.subnets.length).toBeGreaterThanOrEqual(200);
    });
    expect((await agent.interfaces()).told).toBeLessThan(50);
  });
});
