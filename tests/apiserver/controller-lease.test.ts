import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { setTimeout as delay } from "node:timers/promises";
import { NAMESPACE } from "../support/builders.ts";
import { ControlPlane, UP_TIMEOUT_MS, type AuditEvent } from "../support/control-plane.ts";
import { eventually } from "../support/eventually.ts";
import { describeWith } from "../support/requirements.ts";
import { ControllerProcess, installController, poolConfig, User } from "./controller-process.ts";

jest.setTimeout(3 * 60_000);

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

  test("say on every Service that nobody announces it, when everything is uninstalled", async () => {
    await using controller = await ControllerProcess.start(plane);
    await user.createService("default", "six");
    await user.addresses("default", "six");
    await user.request("DELETE", `/api/v1/namespaces/${NAMESPACE}/configmaps/config`);
    expect(await controller.end()).toBe(0);
    const one = await user.service("default", "one");
    expect(one.status.loadBalancer.ingress).toMatchObject([{ ip: "10.0.0.0" }]);
    const announced = one.status.conditions?.find(({ type }) => type === "metallb.io/Announced");
    expect(announced).toMatchObject({ status: "False", reason: "Uninstalled" });
    expect(one.metadata.annotations?.["metallb.io/verdict"]).toContain("uninstalled");
  });
});
