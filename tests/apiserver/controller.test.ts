import { afterAll, beforeAll, describe, expect, jest, test } from "@jest/globals";
import { NAMESPACE, poolConfig } from "../support/builders.ts";
import { ControlPlane, UP_TIMEOUT_MS } from "../support/control-plane.ts";
import { eventually } from "../support/eventually.ts";
import { describeWith } from "../support/requirements.ts";
import {
  addressesOf,
  ControllerProcess,
  installController,
  L2_STATUSES,
  User,
} from "./controller-process.ts";

const ASSIGNED = "metallb.io/AddressAssigned";
const ANNOUNCED = "metallb.io/Announced";
const VERDICT = "metallb.io/verdict";
const POOL = "metallb.io/ip-allocated-from-pool";

jest.setTimeout(60_000);

describeWith("setpriv")("the controller against a real API server", () => {
  let plane: ControlPlane;
  let user: User;
  let controller: ControllerProcess;
  /** Each test has a namespace and a /24 of its own. */
  let nth = 0;

  beforeAll(async () => {
    plane = await ControlPlane.up();
    await installController(plane);
    user = new User(plane);
    await user.configure([]);
    controller = await ControllerProcess.start(plane);
    await controller.leading();
  }, UP_TIMEOUT_MS);

  afterAll(async () => {
    await controller.end();
    await plane[Symbol.asyncDispose]();
  });

  /** Makes a namespace and a pool that only it uses. */
  async function place(
    more: Parameters<typeof poolConfig>[2] = {},
  ): Promise<{ namespace: string; prefix: string }> {
    nth += 1;
    const [namespace, prefix] = [`place-${nth}`, `10.${nth}.0`];
    await user.createNamespace(namespace);
    const addresses = [`${prefix}.0/29`, `fd00:${nth}::/125`];
    await user.configure([poolConfig(namespace, addresses, { namespaces: [namespace], ...more })]);
    return { namespace, prefix };
  }

  describe("a Service", () => {
    test("gets address, annotations, conditions and event, and loses them with its type", async () => {
      const { namespace, prefix } = await place();
      await user.createService(namespace, "web");
      expect(await user.addresses(namespace, "web")).toEqual([`${prefix}.0`]);
      const { metadata, status } = await user.service(namespace, "web");
      expect(metadata.annotations).toMatchObject({
        [POOL]: namespace,
        [VERDICT]: expect.stringContaining(`${prefix}.0`),
      });
      expect(status.conditions?.map(({ type, status }) => [type, status])).toEqual([
        [ASSIGNED, "True"],
        [ANNOUNCED, "Unknown"],
      ]);
      await eventually(async () => {
        const events = await user.events(namespace, "web");
        expect(events.map(({ reason }) => reason)).toEqual(["IPAllocated"]);
      });
      await user.patchService(namespace, "web", { spec: { type: "ClusterIP" } });
      await eventually(async () => {
        const { metadata, status } = await user.service(namespace, "web");
        expect(metadata.annotations ?? {}).toEqual({});
        expect(status.conditions ?? []).toEqual([]);
        expect(status.loadBalancer).toEqual({});
      });
      await user.createService(namespace, "next");
      expect(await user.addresses(namespace, "next")).toEqual([`${prefix}.0`]);
    });

    test("with two families gets two addresses, and one of them back again", async () => {
      const { namespace, prefix } = await place();
      const dual = { ipFamilyPolicy: "RequireDualStack" };
      await user.createService(namespace, "web", dual);
      const both = await user.addresses(namespace, "web", (addresses) => addresses.length === 2);
      expect(both).toEqual([`${prefix}.0`, `fd00:${nth}::`]);
      await user.patchService(namespace, "web", {
        spec: {
          ipFamilyPolicy: "SingleStack",
          ipFamilies: ["IPv4"],
          clusterIPs: [(await user.service(namespace, "web")).spec.clusterIP],
        },
      });
      await user.addresses(namespace, "web", (addresses) => addresses.length === 1);
    });

    test("that is deleted and made again at once gets an address again, and none leaks", async () => {
      const { namespace } = await place();
      for (let round = 0; round < 20; round++) {
        await user.createService(namespace, "web");
        if (round % 2 === 0) await user.addresses(namespace, "web");
        await user.deleteService(namespace, "web");
      }
      const names = Array.from({ length: 8 }, (_, n) => `all-${n}`);
      await Promise.all(names.map((name) => user.createService(namespace, name)));
      const all = await Promise.all(names.map((name) => user.addresses(namespace, name)));
      expect(new Set(all.flat()).size).toBe(8);
    });

    test("of another class is left alone, and one whose class changed through its type is cleaned", async () => {
      const { namespace } = await place();
      await user.createService(namespace, "theirs", { loadBalancerClass: "other.example/lb" });
      await user.createService(namespace, "ours");
      await user.addresses(namespace, "ours");
      const theirs = await user.service(namespace, "theirs");
      expect(theirs.metadata.annotations ?? {}).toEqual({});
      expect(theirs.status.conditions ?? []).toEqual([]);
      await user.patchService(namespace, "ours", { spec: { type: "ClusterIP" } });
      await user.patchService(namespace, "ours", {
        spec: {
          type: "LoadBalancer",
          loadBalancerClass: "other.example/lb",
          allocateLoadBalancerNodePorts: false,
        },
      });
      await eventually(async () => {
        const { metadata, status } = await user.service(namespace, "ours");
        expect([metadata.annotations ?? {}, status.conditions ?? [], status.loadBalancer]).toEqual([
          {},
          [],
          {},
        ]);
      });
    });

    test("whose status somebody wipes gets it back, ipMode and all", async () => {
      const { namespace, prefix } = await place();
      await user.createService(namespace, "web");
      await user.addresses(namespace, "web");
      await user.patchService(
        namespace,
        "web",
        { status: { loadBalancer: { ingress: null } } },
        "/status",
      );
      expect(await user.addresses(namespace, "web")).toEqual([`${prefix}.0`]);
    });
  });

  describe("bad input", () => {
    for (const { name, spec, annotations, reason, says } of [
      {
        name: "an address in no pool",
        spec: { loadBalancerIP: "192.0.2.1" },
        annotations: {},
        reason: "AddressNotInPool",
        says: "192.0.2.1 is in no pool",
      },
      {
        name: "an address of another family",
        spec: { loadBalancerIP: "fd00:1::1" },
        annotations: {},
        reason: "FamilyMismatch",
        says: "IPv6",
      },
      {
        name: "a nonsense address",
        spec: {},
        annotations: { "metallb.io/loadBalancerIPs": "fish" },
        reason: "InvalidRequest",
        says: "fish",
      },
      {
        name: "an unknown pool",
        spec: {},
        annotations: { "metallb.io/address-pool": "nowhere" },
        reason: "NoPool",
        says: "nowhere",
      },
      {
        name: "ten thousand characters",
        spec: {},
        annotations: { "metallb.io/loadBalancerIPs": "x".repeat(10_000) },
        reason: "InvalidRequest",
        says: "xxx",
      },
      {
        name: "a pool of ten thousand characters",
        spec: {},
        annotations: { "metallb.io/address-pool": "x".repeat(10_000) },
        reason: "NoPool",
        says: "xxx",
      },
    ]) {
      test(`${name}: condition, verdict and event say so, and others are served`, async () => {
        const { namespace } = await place();
        await user.createService(namespace, "bad", spec, { annotations });
        await user.createService(namespace, "good");
        await user.addresses(namespace, "good");
        const condition = await user.condition(namespace, "bad", ASSIGNED, reason);
        expect(condition).toMatchObject({
          status: "False",
          message: expect.stringContaining(says),
        });
        const bad = await user.service(namespace, "bad");
        expect(bad.metadata.annotations?.[VERDICT]).toContain(says);
        expect(bad.metadata.annotations?.[VERDICT]?.length).toBeLessThan(500);
        await eventually(async () => {
          const events = await user.events(namespace, "bad");
          expect(events).toContainEqual(
            expect.objectContaining({ type: "Warning", note: expect.stringContaining(says) }),
          );
        });
      });
    }

    test("a configuration with a fault changes nothing, and is said to be stale", async () => {
      const { namespace, prefix } = await place();
      await user.createService(namespace, "web");
      await user.addresses(namespace, "web");
      await user.configure([
        poolConfig("a", ["10.200.0.0/24"]),
        poolConfig("b", ["10.200.0.9-10.200.0.1"]),
      ]);
      await eventually(() => controller.output.includes("configuration refused"));
      await user.createService(namespace, "more");
      expect(await user.addresses(namespace, "more")).toEqual([`${prefix}.1`]);
    });
  });

  describe("pools", () => {
    test("that shrink move only those outside, who are told", async () => {
      const { namespace, prefix } = await place();
      for (const name of ["a", "b", "c"]) {
        await user.createService(namespace, name);
        await user.addresses(namespace, name);
      }
      const only = { namespaces: [namespace] };
      await user.configure([poolConfig(namespace, [`${prefix}.1-${prefix}.3`], only)]);
      expect(await user.addresses(namespace, "a", ([first]) => first === `${prefix}.3`)).toEqual([
        `${prefix}.3`,
      ]);
      expect(addressesOf(await user.service(namespace, "b"))).toEqual([`${prefix}.1`]);
      expect(addressesOf(await user.service(namespace, "c"))).toEqual([`${prefix}.2`]);
      await eventually(async () => {
        const events = await user.events(namespace, "a");
        expect(events).toContainEqual(
          expect.objectContaining({
            reason: "ClearAssignment",
            note: expect.stringContaining("is in no pool"),
          }),
        );
      });
    });

    test("look at the labels of namespaces, also at later ones", async () => {
      const { namespace, prefix } = await place({
        namespaces: [],
        "namespace-selectors": [{ matchLabels: { team: "red" } }],
      });
      await user.createService(namespace, "web");
      await user.condition(namespace, "web", ASSIGNED, "NoPool");
      const labels = { metadata: { labels: { team: "red" } } };
      await user.request(
        "PATCH",
        `/api/v1/namespaces/${namespace}`,
        labels,
        "application/merge-patch+json",
      );
      expect(await user.addresses(namespace, "web")).toEqual([`${prefix}.0`]);
    });

    test("say in their status who holds what, and leave the conditions to the operator", async () => {
      const { namespace, prefix } = await place();
      await user.createPool(namespace, [`${prefix}.0/29`]);
      const path = `/apis/metallb.io/v1beta1/namespaces/${NAMESPACE}/addresspools/${namespace}/status`;
      const condition = {
        type: "Valid",
        status: "True",
        reason: "Valid",
        message: "",
        lastTransitionTime: "2026-01-01T00:00:00Z",
      };
      await user.request(
        "PATCH",
        path,
        { status: { conditions: [condition] } },
        "application/merge-patch+json",
      );
      await user.createService(namespace, "web", { ipFamilyPolicy: "RequireDualStack" });
      await eventually(async () => {
        expect(await user.poolStatus(namespace)).toMatchObject({
          conditions: [condition],
          assignedIPv4: 1,
          assignedIPv6: 1,
          availableIPv4: 7,
          availableIPv6: 7,
          holders: [
            { address: `${prefix}.0`, namespace, name: "web" },
            { address: `fd00:${nth}::`, namespace, name: "web" },
          ],
          moreHolders: 0,
        });
      });
      await user.deleteService(namespace, "web");
      await eventually(async () => {
        const status = await user.poolStatus(namespace);
        expect([status["assignedIPv4"], status["holders"] ?? []]).toEqual([0, []]);
      });
    });
  });

  describe("what speakers report", () => {
    test("becomes condition, verdict and event; the highest term is right", async () => {
      const { namespace, prefix } = await place();
      await user.createService(namespace, "web");
      await user.addresses(namespace, "web");
      const address = `${prefix}.0`;
      await user.report(namespace, "web", "node1", {
        address,
        reason: "Announced",
        term: 1,
        interfaces: [{ name: "eth0" }],
      });
      const announced = await user.condition(namespace, "web", ANNOUNCED, "Announced");
      expect(announced).toMatchObject({
        status: "True",
        message: `${address} is announced by node1 on eth0`,
      });
      await user.report(namespace, "web", "node2", {
        address,
        reason: "NoCarrier",
        message: "eth0 has no carrier",
        term: 2,
      });
      expect(await user.condition(namespace, "web", ANNOUNCED, "NoCarrier")).toMatchObject({
        status: "False",
      });
      const { metadata } = await user.service(namespace, "web");
      expect(metadata.annotations?.[VERDICT]).toContain("eth0 has no carrier");
      await eventually(async () => {
        const events = await user.events(namespace, "web");
        expect(events).toContainEqual(
          expect.objectContaining({ type: "Warning", reason: "announceFailed" }),
        );
      });
    });

    test("a conflict keeps the address out of use beyond the Service, until somebody lifts the mark", async () => {
      const { namespace, prefix } = await place();
      await user.createPool(namespace, [`${prefix}.0/29`]);
      await user.createService(
        namespace,
        "web",
        {},
        { annotations: { "metallb.io/on-address-conflict": "Reassign" } },
      );
      await user.addresses(namespace, "web");
      const address = `${prefix}.0`;
      const conflict = { hardwareAddress: "02:00:00:00:00:01", since: "2026-01-01T00:00:00Z" };
      await user.report(namespace, "web", "node1", {
        address,
        reason: "AddressConflict",
        term: 1,
        conflict,
      });
      expect(await user.addresses(namespace, "web", ([first]) => first !== address)).toEqual([
        `${prefix}.1`,
      ]);
      await eventually(async () => {
        const { quarantined } = await user.poolStatus(namespace);
        expect(quarantined).toEqual([{ address, ...conflict }]);
      });
      await user.request("DELETE", `${L2_STATUSES}/${namespace}-web-node1`);
      await controller.end();
      controller = await ControllerProcess.start(plane);
      await controller.leading();
      await user.createService(namespace, "more");
      expect(await user.addresses(namespace, "more")).toEqual([`${prefix}.2`]);
      const path = `/apis/metallb.io/v1beta1/namespaces/${NAMESPACE}/addresspools/${namespace}/status`;
      await user.request(
        "PATCH",
        path,
        { status: { quarantined: null } },
        "application/merge-patch+json",
      );
      await eventually(async () => {
        expect((await user.poolStatus(namespace))["availableIPv4"]).toBe(6);
      });
      await user.createService(namespace, "last");
      expect(await user.addresses(namespace, "last")).toEqual([address]);
    });
  });

  describe("the rights", () => {
    test("suffice: nothing was forbidden", async () => {
      const events = await plane.auditEvents();
      const ours = events.filter(({ user }) => user.username.endsWith(":controller"));
      expect(ours.length).toBeGreaterThan(50);
      const forbidden = ours.filter(({ responseStatus }) => responseStatus?.code === 403);
      expect(forbidden.map(({ verb, requestURI }) => `${verb} ${requestURI}`)).toEqual([]);
    });
  });
});
