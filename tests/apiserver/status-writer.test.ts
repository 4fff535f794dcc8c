import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { join } from "node:path";
import { createClient, type Client } from "../../kubernetes/client.ts";
import { NAMESPACES, SERVICE_L2_STATUSES } from "../../kubernetes/resources.ts";
import { address } from "../../packet/address/address.ts";
import { statusName, type ObservedAddress } from "../../speaker/observation.ts";
import { StatusWriter } from "../../speaker/status.ts";
import { ControlPlane, UP_TIMEOUT_MS } from "../support/control-plane.ts";
import { describeWith } from "../support/requirements.ts";

const namespace = "statuses";
const VIP = address("192.0.2.7");
const SERVICE = "shop/web";
const name = statusName("shop", "web", "node1");
const { signal } = new AbortController();

/** An address that node1 answers for. */
const observed = (term: number): ObservedAddress => ({
  address: VIP,
  election: {
    candidates: ["node1"],
    prober: "node1",
    excluded: new Map(),
    farther: new Set(),
  },
  settled: true,
  owner: "node1",
  term,
  hindrance: undefined,
  since: new Date("2026-01-02T03:04:05Z"),
  standing: () => ({ live: true, reason: undefined }),
  foreign: undefined,
  unansweredBy: [],
  interfaces: ["eth0"],
  noInterface: { reason: "NoCarrier", message: "eth1: up without carrier" },
});

describeWith("setpriv")("what a speaker says of a Service", () => {
  let plane: ControlPlane;
  let client: Client;
  let term = 0;
  /** Whether node1 still answers for the Service. */
  let announced = true;

  beforeAll(async () => {
    plane = await ControlPlane.up();
    await plane.kubectl("apply", "-k", join(import.meta.dirname, "../../config/crd"));
    await plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s");
    client = await createClient({ program: "test", kubeconfig: plane.kubeconfig });
    await client.apply(NAMESPACES, { metadata: { name: namespace } });
  }, UP_TIMEOUT_MS);

  afterAll(async () => {
    client.close();
    await plane[Symbol.asyncDispose]();
  });

  beforeEach(async () => {
    [term, announced] = [1, true];
    await client.delete(SERVICE_L2_STATUSES, { name, namespace });
  });

  function speaker(pod: string): StatusWriter {
    return new StatusWriter({
      client,
      view: {
        addressesOf: () => (announced ? [VIP] : []),
        observe: () => observed(term),
      },
      node: "node1",
      namespace,
      owner: { name: pod, uid: `uid-of-${pod}` },
      said: () => undefined,
    });
  }

  const read = () => client.get(SERVICE_L2_STATUSES, { name, namespace });
  const owners = async () =>
    (await read())?.metadata.ownerReferences?.map(({ uid }) => uid) ?? "no object";

  test("belongs to the pod that says it, also when another on this node has said it before", async () => {
    await speaker("first").reconcile(SERVICE, signal);
    expect(await owners()).toEqual(["uid-of-first"]);
    const second = speaker("second");
    expect(await second.survey(signal)).toEqual([SERVICE]);
    await second.reconcile(SERVICE, signal);
    expect(await owners()).toEqual(["uid-of-second"]);
    expect(await second.survey(signal)).toEqual([]);
  });

  test("goes when it is left from before and true no more", async () => {
    await speaker("first").reconcile(SERVICE, signal);
    const second = speaker("second");
    announced = false;
    expect(await second.survey(signal)).toEqual([SERVICE]);
    await second.reconcile(SERVICE, signal);
    expect(await read()).toBeUndefined();
    expect(await second.survey(signal)).toEqual([]);
  });

  test("is found missing when somebody has deleted it, and said again", async () => {
    const writer = speaker("first");
    await writer.reconcile(SERVICE, signal);
    expect(await writer.survey(signal)).toEqual([]);
    await client.delete(SERVICE_L2_STATUSES, { name, namespace });
    expect(await writer.survey(signal)).toEqual([SERVICE]);
    await writer.reconcile(SERVICE, signal);
    expect((await read())?.status).toMatchObject({ node: "node1", serviceName: "web" });
  });

  test("is made anew at the second try when it is missed in writing", async () => {
    const writer = speaker("first");
    await writer.reconcile(SERVICE, signal);
    await client.delete(SERVICE_L2_STATUSES, { name, namespace });
    term = 2;
    await expect(writer.reconcile(SERVICE, signal)).rejects.toMatchObject({ code: "NotFound" });
    await writer.reconcile(SERVICE, signal);
    expect((await read())?.status?.addresses).toMatchObject([{ term: 2 }]);
  });
});
