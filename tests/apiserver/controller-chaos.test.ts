/** The controller under fire: many Services, random users, and SIGKILL at random. */
import { poolConfig } from "../support/builders.ts";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { ControlPlane, UP_TIMEOUT_MS } from "../support/control-plane.ts";
import { eventually } from "../support/eventually.ts";
import { describeWith } from "../support/requirements.ts";
import {
  addressesOf,
  ControllerProcess,
  installController,
  User,
  type SeenService,
} from "./controller-process.ts";

const SERVICES = 1_000;
const KILLS = 20;
const SPACE = "chaos";
const SEED = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
/** At work at once. */
const USERS = 8;

jest.setTimeout(10 * 60_000);

/** Chance that can be had again (mulberry32). */
function chance(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const random = chance(SEED);

function pick<T>(...values: readonly T[]): T {
  return values[random(values.length)]!;
}

describeWith("setpriv")(`a controller that is killed again and again (SEED=${SEED})`, () => {
  let plane: ControlPlane;
  let user: User;
  let controller: ControllerProcess;

  beforeAll(async () => {
    plane = await ControlPlane.up();
    await installController(plane);
    user = new User(plane);
    await user.createNamespace(SPACE);
    await user.configure([
      poolConfig("large", ["10.1.0.0/21", "fd00:1::/64"]),
      poolConfig("small", ["10.2.0.0/26", "fd00:2::/122"], { "auto-assign": false }),
    ]);
    // Their status is the controller's own account of who has what.
    await user.createPool("large", ["10.1.0.0/21", "fd00:1::/64"]);
    await user.createPool("small", ["10.2.0.0/26", "fd00:2::/122"]);
    controller = await ControllerProcess.start(plane);
    await controller.leading();
  }, UP_TIMEOUT_MS);

  afterAll(async () => {
    await controller.end();
    await plane[Symbol.asyncDispose]();
  });

  /** What a user may want of a Service. */
  function form(): { spec: object; metadata: { annotations: Record<string, string> } } {
    const shares = random(3) === 0;
    return {
      spec: {
        ports: [{ name: "p", port: shares ? 1 + random(40) : 80 }],
        ...(random(6) === 0 && { ipFamilyPolicy: "PreferDualStack" }),
        ...(random(20) === 0 && { loadBalancerIP: `10.2.0.${random(80)}` }),
      },
      metadata: {
        annotations: {
          ...(shares && { "metallb.io/allow-shared-ip": `key-${random(10)}` }),
          ...(random(20) === 0 && { "metallb.io/address-pool": pick("small", "large", "nowhere") }),
        },
      },
    };
  }

  async function create(name: string): Promise<void> {
    const { spec, metadata } = form();
    await user.createService(SPACE, name, spec, metadata);
  }

  /** One thing that a user does; what it meets (it may be gone meanwhile) does not matter. */
  async function disturb(): Promise<void> {
    const name = `s-${random(SERVICES)}`;
    const { spec, metadata } = form();
    const actions = [
      () => user.deleteService(SPACE, name),
      () => user.deleteService(SPACE, name).then(() => create(name)),
      () => create(name),
      () => user.patchService(SPACE, name, { metadata }),
      () => user.patchService(SPACE, name, { spec: { ports: (spec as { ports: object }).ports } }),
      () =>
        user.patchService(SPACE, name, {
          spec: { type: "ClusterIP", allocateLoadBalancerNodePorts: null },
        }),
      () =>
        user.patchService(SPACE, name, {
          spec: { type: "LoadBalancer", allocateLoadBalancerNodePorts: false },
        }),
    ];
    await pick(...actions)().catch(() => undefined);
  }

  async function inParallel(count: number, work: (n: number) => Promise<void>): Promise<void> {
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < count) await work(next++);
    };
    await Promise.all(Array.from({ length: USERS }, worker));
  }

  test("in the end has given every Service what is right, and lost or doubled nothing", async () => {
    const creating = inParallel(SERVICES, (n) => create(`s-${n}`));
    const disturbing = creating.then(() => inParallel(1_500, disturb));
    for (let kill = 0; kill < KILLS; kill++) {
      // At random moments of its life: while it starts, claims, and writes.
      const moment = Date.now() + random(1_500);
      await eventually(() => Date.now() >= moment);
      await controller.end("SIGKILL");
      controller = await ControllerProcess.start(plane);
    }
    await disturbing;
    await controller.leading();
    await eventually(async () => expectAllRight(await user.services(SPACE)), {
      deadlineMs: 120_000,
    });
  });

  test("counts in each pool just what Services show: nothing leaked", async () => {
    const shown = new Set((await user.services(SPACE)).flatMap(addressesOf));
    const count = (prefix: string): number =>
      [...shown].filter((address) => address.startsWith(prefix)).length;
    await eventually(
      async () => {
        expect(await user.poolStatus("large")).toMatchObject({
          assignedIPv4: count("10.1."),
          availableIPv4: 2_048 - count("10.1."),
          assignedIPv6: count("fd00:1:"),
        });
        expect(await user.poolStatus("small")).toMatchObject({
          assignedIPv4: count("10.2."),
          availableIPv4: 64 - count("10.2."),
          assignedIPv6: count("fd00:2:"),
          availableIPv6: 64 - count("fd00:2:"),
        });
      },
      // An address whose write was never answered is kept for a minute, until that cannot arrive any more.
      { deadlineMs: 180_000 },
    );
  });

  test("finds everything as it left it: a restart writes nothing", async () => {
    const before = await user.services(SPACE);
    await controller.end();
    controller = await ControllerProcess.start(plane);
    await controller.leading();
    // Something new shows that everything before it has been looked at.
    await user.createService(SPACE, "last");
    await user.addresses(SPACE, "last");
    const after = new Map((await user.services(SPACE)).map((each) => [each.metadata.name, each]));
    for (const { metadata } of before) {
      expect(after.get(metadata.name)?.metadata.resourceVersion).toBe(metadata.resourceVersion);
    }
  });
});

const CONDITION = "metallb.io/AddressAssigned";

/** Throws unless every Service is as the rules want it. */
function expectAllRight(services: readonly SeenService[]): void {
  const holders = new Map<string, SeenService[]>();
  for (const service of services) {
    const addresses = addressesOf(service);
    const { name } = service.metadata;
    const condition = service.status.conditions?.find(({ type }) => type === CONDITION);
    if (service.spec.type !== "LoadBalancer") {
      expect([name, addresses, condition]).toEqual([name, [], undefined]);
      continue;
    }
    expect([name, condition?.status]).toEqual([name, addresses.length > 0 ? "True" : "False"]);
    // Whoever asks for nothing special has an address, for there are more than enough.
    const asks =
      service.spec.loadBalancerIP ?? service.metadata.annotations?.["metallb.io/address-pool"];
    if (asks === undefined) expect([name, addresses.length > 0]).toEqual([name, true]);
    for (const address of addresses) {
      const isLarge = address.startsWith("10.1.") || address.startsWith("fd00:1:");
      const pool = service.metadata.annotations?.["metallb.io/ip-allocated-from-pool"];
      expect([name, pool]).toEqual([name, isLarge ? "large" : "small"]);
      holders.set(address, [...(holders.get(address) ?? []), service]);
    }
  }
  for (const [address, sharing] of holders) {
    if (sharing.length === 1) continue;
    const keys = new Set(
      sharing.map(({ metadata }) => metadata.annotations?.["metallb.io/allow-shared-ip"] ?? ""),
    );
    const ports = sharing.flatMap(({ spec }) => (spec.ports ?? []).map(({ port }) => port));
    expect([address, keys.size, keys.has(""), new Set(ports).size]).toEqual([
      address,
      1,
      false,
      ports.length,
    ]);
  }
}
