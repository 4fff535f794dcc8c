import { afterAll, beforeAll, describe, expect, jest, test } from "@jest/globals";
import { setTimeout as delay } from "node:timers/promises";
import { NAMESPACE, poolConfig } from "../support/builders.ts";
import { ControlPlane, UP_TIMEOUT_MS, type AuditEvent } from "../support/control-plane.ts";
import { eventually } from "../support/eventually.ts";
import { describeWith } from "../support/requirements.ts";
import {
  addressesOf,
  ControllerProcess,
  installController,
  User,
  type SeenService,
} from "./controller-process.ts";

jest.setTimeout(5 * 60_000);

/** How long nothing may happen; the benchmark takes five minutes. */
const QUIET_MS = 10_000;

describeWith("setpriv")("two controllers", () => {
  let plane: ControlPlane;
  let user: User;

  beforeAll(async () => {
    plane = await ControlPlane.up();
    await installController(plane);
    user = new User(plane);
    await user.configure([poolConfig("a", ["10.0.0.0/24"])]);
  }, UP_TIMEOUT_MS);

  afterAll(async () => {
    await plane[Symbol.asyncDispose]();
  });

  async function writes(since: number): Promise<AuditEvent[]> {
    const events = await plane.auditEvents();
    return events.filter(({ user, verb, requestReceivedTimestamp }) => {
      const isOurs = user.username.endsWith(":controller");
      const isWrite = !["get", "list", "watch"].includes(verb);
      return isOurs && isWrite && Date.parse(requestReceivedTimestamp) >= since;
    });
  }

  test("one leads; when it is killed, or stops, the other takes over and nothing is lost", async () => {
    await using first = await ControllerProcess.start(plane, { pod: "first" });
    await first.leading();
    await using second = await ControllerProcess.start(plane, { pod: "second" });
    await user.createService("default", "one");
    expect(await user.addresses("default", "one")).toEqual(["10.0.0.0"]);
    expect(second.output).not.toContain('"leading"');
    await first.end("SIGKILL");
    await user.createService("default", "two");
    expect(await user.addresses("default", "two")).toEqual(["10.0.0.1"]);
    expect(second.output).toContain('"leading"');
    await using third = await ControllerProcess.start(plane, { pod: "third" });
    expect(await second.end("SIGTERM")).toBe(0);
    await third.leading();
    await user.createService("default", "three");
    expect(await user.addresses("default", "three")).toEqual(["10.0.0.2"]);
  });

  test("one that was frozen while the other took over writes nothing when it thaws", async () => {
    await using first = await ControllerProcess.start(plane, { pod: "frozen" });
    await first.leading();
    process.kill(first.pid, "SIGSTOP");
    await using second = await ControllerProcess.start(plane, { pod: "awake" });
    await second.leading();
    await user.createService("default", "four");
    expect(await user.addresses("default", "four")).toEqual(["10.0.0.3"]);
    process.kill(first.pid, "SIGCONT");
    await eventually(() => first.output.includes("no longer leading"));
    await user.createService("default", "five");
    expect(await user.addresses("default", "five")).toEqual(["10.0.0.4"]);
  });

  test("at rest write nothing but the Lease, at most once in two seconds", async () => {
    await using controller = await ControllerProcess.start(plane);
    await controller.leading();
    await user.createPool("a", ["10.0.0.0/24"]);
    await eventually(async () =>
      expect(await user.poolStatus("a")).toMatchObject({ assignedIPv4: 5 }),
    );
    const since = Date.now() + 2_000;
    await delay(2_000 + QUIET_MS);
    const found = await writes(since);
    expect(found.filter(({ objectRef }) => objectRef?.resource !== "leases")).toEqual([]);
    expect(found.length).toBeLessThanOrEqual(QUIET_MS / 2_000 + 1);
  });

  describe("when MetalLB is uninstalled", () => {
    const pools = [poolConfig("a", ["10.0.0.0/23"])];
    const MANY = 60;
    const PATIENCE = { deadlineMs: 90_000 };

    function announced(service: SeenService): string | undefined {
      const { conditions = [] } = service.status;
      return conditions.find(({ type }) => type === "metallb.io/Announced")?.reason;
    }

    async function expectTold(): Promise<void> {
      const services = (await user.services("default")).filter(
        ({ spec }) => spec.type === "LoadBalancer",
      );
      expect(services.length).toBeGreaterThanOrEqual(MANY);
      for (const service of services) {
        const { name, annotations } = service.metadata;
        expect([name, announced(service)]).toEqual([name, "Uninstalled"]);
        expect([name, addressesOf(service).length]).toEqual([name, 1]);
        expect(annotations?.["metallb.io/verdict"]).toContain("uninstalled");
      }
    }

    beforeAll(async () => {
      await user.configure(pools, "", await user.install());
      await Promise.all(
        Array.from({ length: MANY }, (_, n) => user.createService("default", `many-${n}`)),
      );
    });

    test("the one that ends tells every Service, though the configuration is still there", async () => {
      await using controller = await ControllerProcess.start(plane);
      await user.addresses("default", `many-${MANY - 1}`);
      await user.uninstall();
      expect(await controller.end()).toBe(0);
      await expectTold();
    });

    test("a new installation takes that back", async () => {
      await user.configure(pools, "", await user.install());
      await using controller = await ControllerProcess.start(plane);
      await eventually(async () => {
        const services = await user.services("default");
        expect(services.map(announced)).not.toContain("Uninstalled");
      }, PATIENCE);
      expect(await controller.end()).toBe(0);
      expect((await user.services("default")).map(announced)).not.toContain("Uninstalled");
    });

    test("a configuration that somebody deleted is no uninstallation", async () => {
      await using controller = await ControllerProcess.start(plane);
      await controller.leading();
      await user.request("DELETE", `/api/v1/namespaces/${NAMESPACE}/configmaps/config`);
      await eventually(() => controller.output.includes("configuration is gone"), PATIENCE);
      expect(await controller.end()).toBe(0);
      expect((await user.services("default")).map(announced)).not.toContain("Uninstalled");
    });

    test("without a configuration nothing is touched, whatever there is", async () => {
      const before = await user.services("default");
      await using controller = await ControllerProcess.start(plane, { pod: "unconfigured" });
      await controller.leading();
      await user.createService("default", "later");
      expect(await controller.end()).toBe(0);
      const after = new Map(
        (await user.services("default")).map((each) => [each.metadata.name, each]),
      );
      for (const { metadata } of before) {
        expect(after.get(metadata.name)?.metadata.resourceVersion).toBe(metadata.resourceVersion);
      }
      expect(addressesOf(after.get("later")!)).toEqual([]);
    });

    test("the one that leads tells it before it is ended, and so does one that takes over", async () => {
      await user.configure(pools, "", await user.uidOfInstallation());
      await using first = await ControllerProcess.start(plane, { pod: "first-to-tell" });
      await first.leading();
      await user.addresses("default", "later");
      await using second = await ControllerProcess.start(plane, { pod: "second-to-tell" });
      await eventually(() => second.output.includes("configuration taken"), PATIENCE);
      await user.uninstall();
      await user.request("DELETE", `/api/v1/namespaces/${NAMESPACE}/configmaps/config`);
      await eventually(expectTold, PATIENCE);
      await first.end("SIGKILL");
      await second.leading();
      await user.createService("default", "last");
      await eventually(async () => {
        expect(announced(await user.service("default", "last"))).toBe("Uninstalled");
      }, PATIENCE);
      await expectTold();
    });
  });
});
