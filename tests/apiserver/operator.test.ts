import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { parseRenderedConfig, type RenderedConfig } from "../../api/rendered-config.ts";
import {
  addressPool,
  metallb,
  NAMESPACE,
  withMetadata,
  withMetalLBSpec,
} from "../support/builders.ts";
import { ControlPlane, UP_TIMEOUT_MS } from "../support/control-plane.ts";
import { eventually as within } from "../support/eventually.ts";
import { describeWith } from "../support/requirements.ts";
import {
  Admin,
  conditionOf,
  IMAGE,
  installOperator,
  OperatorProcess,
  type Plural,
  type Seen,
} from "./operator-process.ts";

const CHILDREN: readonly (readonly [Plural, string])[] = [
  ["configmaps", "config"],
  ["deployments", "controller"],
  ["daemonsets", "speaker"],
];
const TEST_TIMEOUT_MS = 120_000;
/** Of the waits in a test: a busy machine is many times slower than a quiet one. */
const DEADLINE_MS = 45_000;

/** Some DaemonSet. */
const DAEMON_SET_SPEC = {
  selector: { matchLabels: { app: "probe" } },
  template: {
    metadata: { labels: { app: "probe" } },
    spec: { containers: [{ name: "probe", image: "probe" }] },
  },
};

async function eventually<T>(
  probe: () => T | Promise<T>,
  options: { readonly deadlineMs?: number } = {},
): Promise<Exclude<T, false>> {
  return within(probe, { deadlineMs: DEADLINE_MS, ...options });
}

let plane: ControlPlane;
let admin: Admin;
let operator: OperatorProcess;

/** The rendered configuration, once there is one that fits the condition. */
async function config(fits: (config: RenderedConfig) => boolean): Promise<RenderedConfig> {
  return eventually(async () => {
    const { data } = await admin.get("configmaps", "config");
    const parsed = parseRenderedConfig(data?.["config"] ?? "");
    if (!parsed.ok) throw new Error(parsed.message);
    return fits(parsed.value) && parsed.value;
  });
}

/** The addresses in effect, by pool. */
function addressesOf({ "address-pools": pools }: RenderedConfig): Record<string, string[]> {
  return Object.fromEntries(pools.map(({ name, addresses }) => [name, addresses]));
}

async function condition(
  plural: Plural,
  name: string,
  type: string,
  reason: string,
  namespace = NAMESPACE,
) {
  return eventually(async () => {
    const found = conditionOf(await admin.get(plural, name, namespace), type);
    return found?.reason === reason && found;
  });
}

/** Waits until the operator says of a pool that there is no installation to use it. */
async function uninstalled(pool: string): Promise<void> {
  await admin.apply("addresspools", addressPool(pool, ["203.0.113.250"]));
  await eventually(async () => {
    const { message = "" } = conditionOf(await admin.get("addresspools", pool), "Valid") ?? {};
    return message.includes("without a MetalLB object");
  });
}

async function allChildren(): Promise<void> {
  await eventually(async () => {
    for (const [plural, name] of CHILDREN) await admin.get(plural, name);
  });
}

/** Counts the pods as Kubernetes' controllers would, of which none run here. */
async function pretendReady(): Promise<void> {
  const { generation: deployment = 0 } = (await admin.get("deployments", "controller")).metadata;
  const one = { replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1 };
  const status = { observedGeneration: deployment, ...one };
  await admin.patch("deployments", "controller", { status }, true);
  const { generation: daemonSet = 0 } = (await admin.get("daemonsets", "speaker")).metadata;
  const counts = {
    desiredNumberScheduled: 3,
    currentNumberScheduled: 3,
    updatedNumberScheduled: 3,
    numberReady: 3,
    numberMisscheduled: 0,
  };
  const three = { observedGeneration: daemonSet, ...counts };
  await admin.patch("daemonsets", "speaker", { status: three }, true);
}

/** The rights of config/rbac/operator.yaml, each as verb and resource. */
async function grantedRights(): Promise<string[]> {
  const text = await readFile(join(import.meta.dirname, "../../config/rbac/operator.yaml"), "utf8");
  const objects = parseAllDocuments(text).map((document) => document.toJS() as { rules?: Rule[] });
  const rules = objects.flatMap((object) => object.rules ?? []);
  return rules.flatMap(({ verbs, resources }) =>
    resources.flatMap((resource) => verbs.map((verb) => `${verb} ${resource}`)),
  );
}

/** Numbers from 0 up to 1 that follow from a seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Rule {
  readonly verbs: readonly string[];
  readonly resources: readonly string[];
}

/** Waits until nothing is left to do: a whole second without a write but of the Lease. */
async function atRest(): Promise<void> {
  await eventually(async () => {
    const before = (await writes()).length;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    return (await writes()).length === before;
  });
}

/** What the operator wrote so far, less its Lease, which it renews for ever. */
async function writes(): Promise<string[]> {
  const events = await plane.auditEvents();
  return events
    .filter(({ user }) => user.username.endsWith(":metallb-operator"))
    .filter(({ verb }) => !["get", "list", "watch"].includes(verb))
    .filter(({ objectRef }) => objectRef?.resource !== "leases")
    .map(({ verb, requestURI }) => `${verb} ${requestURI}`);
}

describeWith("setpriv")("the operator against a real API server", () => {
  beforeAll(async () => {
    plane = await ControlPlane.up();
    admin = new Admin(plane);
    await installOperator(plane);
    operator = await OperatorProcess.start(plane);
    await operator.leading();
  }, UP_TIMEOUT_MS);

  afterAll(async () => {
    await operator.end();
    await plane[Symbol.asyncDispose]();
  });

  // No garbage collector runs here: what the test before left is removed by hand, once the operator
  // has seen that the MetalLB object is gone and so makes nothing again.
  beforeEach(async () => {
    await admin.deleteAll("metallbs");
    await admin.deleteAll("addresspools");
    await uninstalled("marker");
    await admin.delete("addresspools", "marker");
    for (const [plural, name] of CHILDREN) await admin.delete(plural, name);
  }, TEST_TIMEOUT_MS);

  const check = (name: string, body: () => Promise<void>): void => {
    test(name, body, TEST_TIMEOUT_MS);
  };

  check("accepts the samples", async () => {
    const samples = join(import.meta.dirname, "../../config/samples");
    const output = await plane.kubectl("apply", "-k", samples, "--dry-run=server");
    expect(output).toContain("addresspool.metallb.io/doc-example created");
  });

  check("renders configuration, controller and speakers, owned by the MetalLB object", async () => {
    await admin.apply("addresspools", addressPool("a", ["192.0.2.0/30", "2001:db8::1"]));
    const owner = await admin.apply("metallbs", metallb(withMetalLBSpec({ logLevel: "debug" })));
    await allChildren();
    const rendered = await config((seen) => seen["log-level"] === "debug");
    expect(addressesOf(rendered)).toEqual({ a: ["192.0.2.0/30", "2001:db8::1"] });
    for (const [plural, name] of CHILDREN) {
      const { metadata } = await admin.get(plural, name);
      expect(metadata.ownerReferences).toMatchObject([
        { kind: "MetalLB", uid: owner.metadata.uid, controller: true },
      ]);
      expect(metadata.labels).toMatchObject({ app: "metallb" });
    }
    for (const [plural, name] of CHILDREN.slice(1)) {
      const { spec } = await admin.get(plural, name);
      expect(spec).toMatchObject({
        selector: { matchLabels: { app: "metallb", component: name } },
        template: { spec: { containers: [{ name, image: IMAGE, args: [name] }] } },
      });
    }
  });

  check("says Progressing until the pods are ready, then Available, and then rests", async () => {
    await admin.apply("metallbs", metallb());
    await condition("metallbs", "metallb", "Progressing", "RollingOut");
    await allChildren();
    await pretendReady();
    const available = await condition("metallbs", "metallb", "Available", "Available");
    expect(available).toMatchObject({ status: "True", observedGeneration: 1 });
    expect(available.message).toContain("speaker: 3 of 3 ready");
    const { status } = await admin.get("metallbs", "metallb");
    expect(status).toMatchObject({
      controller: { desired: 1, updated: 1, ready: 1, image: IMAGE },
      speaker: { desired: 3, updated: 3, ready: 3, image: IMAGE },
    });
    await atRest();
  });

  check("repairs a child that somebody edits or deletes", async () => {
    await admin.apply("metallbs", metallb());
    await allChildren();
    await admin.patch("deployments", "controller", { spec: { replicas: 0 } });
    await admin.patch("configmaps", "config", { data: { config: "address-pools: []" } });
    await admin.patch("daemonsets", "speaker", { metadata: { labels: { component: null } } });
    await eventually(async () => {
      expect(await admin.get("deployments", "controller")).toMatchObject({ spec: { replicas: 1 } });
      const { metadata } = await admin.get("daemonsets", "speaker");
      expect(metadata.labels).toMatchObject({ component: "speaker" });
    });
    await config((seen) => seen["log-level"] === "info");
    for (const [plural, name] of CHILDREN) {
      const { uid } = (await admin.get(plural, name)).metadata;
      await admin.delete(plural, name);
      await eventually(async () => (await admin.get(plural, name)).metadata.uid !== uid);
    }
  });

  check("each field of the spec changes what it says", async () => {
    const pod = {
      priorityClassName: "system-node-critical",
      runtimeClassName: "kata",
      annotations: { "example.com/team": "network" },
      affinity: { nodeAffinity: {} },
      resources: { requests: { cpu: "10m" } },
    };
    const rendered = {
      metadata: { annotations: pod.annotations },
      spec: {
        priorityClassName: pod.priorityClassName,
        runtimeClassName: pod.runtimeClassName,
        affinity: pod.affinity,
        containers: [{ image: "example/own:1", resources: pod.resources }],
      },
    };
    const tolerations = [{ key: "dedicated", operator: "Exists" as const }];
    const spec = {
      nodeSelector: { rack: "a" },
      speakerTolerations: tolerations,
      controllerNodeSelector: { rack: "b" },
      controllerTolerations: tolerations,
      logLevel: "debug",
      loadBalancerClass: "example.com/lan",
      controllerConfig: pod,
      speakerConfig: pod,
      images: { controller: "example/own:1", speaker: "example/own:1" },
      ignoreExcludeLoadBalancers: true,
      excludedInterfaces: ["^docker"],
      updateStrategy: { type: "OnDelete" },
      failureDetection: { intervalMilliseconds: 200, multiplier: 5 },
      announcementRefreshSeconds: 60,
      witnessAddresses: ["192.0.2.1"],
      rebalance: "Manual",
    } as const;
    await admin.apply("metallbs", metallb());
    await allChildren();
    const { generation } = (await config(() => true)).rebalance;
    await admin.apply("metallbs", { ...metallb(), spec });
    expect(await config((seen) => seen["log-level"] === "debug")).toMatchObject({
      "load-balancer-class": "example.com/lan",
      "ignore-exclude-load-balancers": true,
      "excluded-interfaces": ["^docker"],
      "failure-detection": { "interval-milliseconds": 200, multiplier: 5 },
      "announcement-refresh-seconds": 60,
      "witness-addresses": ["192.0.2.1"],
    });
    await eventually(async () => {
      expect(await admin.get("deployments", "controller")).toMatchObject({
        spec: {
          template: {
            ...rendered,
            spec: { ...rendered.spec, nodeSelector: spec.controllerNodeSelector, tolerations },
          },
        },
      });
      expect(await admin.get("daemonsets", "speaker")).toMatchObject({
        spec: {
          updateStrategy: { type: "OnDelete" },
          template: {
            ...rendered,
            spec: {
              ...rendered.spec,
              nodeSelector: spec.nodeSelector,
              tolerations: expect.arrayContaining(tolerations),
            },
          },
        },
      });
    });
    await pretendReady();
    await condition("metallbs", "metallb", "Available", "Available");
    expect((await config(() => true)).rebalance.generation).toBe(generation);
  });

  check("names the object that could not be applied and why, and applies the others", async () => {
    const metadata = { name: "no-speakers" };
    const group = "admissionregistration.k8s.io";
    const rules = [
      { apiGroups: ["apps"], apiVersions: ["v1"], operations: ["*"], resources: ["daemonsets"] },
    ];
    const path = `/apis/${group}/v1/validatingadmissionpolicies`;
    const [policy, binding] = [path, path.replace("policies", "policybindings")];
    const validations = [{ expression: "false", message: "no speakers on Sundays" }];
    await plane.call({
      method: "POST",
      path: policy,
      body: {
        apiVersion: `${group}/v1`,
        kind: "ValidatingAdmissionPolicy",
        metadata,
        spec: { matchConstraints: { resourceRules: rules }, validations },
      },
    });
    await plane.call({
      method: "POST",
      path: binding,
      body: {
        apiVersion: `${group}/v1`,
        kind: "ValidatingAdmissionPolicyBinding",
        metadata,
        spec: { policyName: metadata.name, validationActions: ["Deny"] },
      },
    });
    try {
      // The API server takes a moment to heed a policy.
      await eventually(async () => {
        const probe = { apiVersion: "apps/v1", kind: "DaemonSet", metadata: { name: "probe" } };
        const said = await plane.call({
          method: "POST",
          path: `/apis/apps/v1/namespaces/${NAMESPACE}/daemonsets?dryRun=All`,
          body: { ...probe, spec: DAEMON_SET_SPEC },
        });
        return said.status === 422;
      });
      await admin.apply("metallbs", metallb());
      const degraded = await condition("metallbs", "metallb", "Degraded", "ReconcileFailed");
      expect(degraded.message).toContain(`DaemonSet ${NAMESPACE}/speaker`);
      expect(degraded.message).toContain("no speakers on Sundays");
      await eventually(async () => admin.has("deployments", "controller"));
      expect(await admin.has("daemonsets", "speaker")).toBe(false);
    } finally {
      await plane.call({ method: "DELETE", path: `${binding}/${metadata.name}` });
      await plane.call({ method: "DELETE", path: `${policy}/${metadata.name}` });
    }
    await eventually(async () => admin.has("daemonsets", "speaker"), { deadlineMs: 90_000 });
  });

  check("leaves fields alone that it does not set", async () => {
    await admin.apply("metallbs", metallb());
    await allChildren();
    const mine = { metadata: { annotations: { "example.com/mine": "1" } } };
    await admin.patch("daemonsets", "speaker", mine);
    await admin.patch("daemonsets", "speaker", { spec: { minReadySeconds: 7 } });
    await atRest();
    expect(await admin.get("daemonsets", "speaker")).toMatchObject({
      ...mine,
      spec: { minReadySeconds: 7 },
    });
  });

  check("deletes what it rendered once and does not want any more", async () => {
    await admin.apply("metallbs", metallb());
    await allChildren();
    for (const [plural, name] of CHILDREN) {
      const { metadata, apiVersion, kind, data, spec } = await admin.get(plural, name);
      const { labels, annotations, ownerReferences } = metadata;
      const old = { name: "old", labels, annotations, ownerReferences };
      await admin.apply(plural, { apiVersion, kind, metadata: old, data, spec });
      await eventually(async () => !(await admin.has(plural, "old")));
      expect(await admin.has(plural, name)).toBe(true);
    }
  });

  check(
    "does not touch what is not ours, and takes over what is given to us, one by one",
    async () => {
      const labels = { app: "metallb" };
      const workload = (kind: string, name: string, more: object) => ({
        apiVersion: "apps/v1",
        kind,
        metadata: { name, labels },
        spec: {
          selector: { matchLabels: { ...labels, component: name } },
          template: {
            metadata: { labels: { ...labels, component: name } },
            spec: { containers: [{ name, image: `quay.io/metallb/${name}:v0.15` }] },
          },
          ...more,
        },
      });
      const config = { kind: "ConfigMap", data: { config: "address-pools: []" } };
      const key = { kind: "Secret", data: { secretkey: Buffer.alloc(128, 7).toString("base64") } };
      // What MetalLB's own manifests leave under our names.
      const objects: readonly (readonly [Plural, object])[] = [
        ["configmaps", { apiVersion: "v1", metadata: { name: "config" }, ...config }],
        ["secrets", { apiVersion: "v1", metadata: { name: "memberlist" }, ...key }],
        ["deployments", workload("Deployment", "controller", { replicas: 2 })],
        ["daemonsets", workload("DaemonSet", "speaker", {})],
      ];
      await admin.delete("secrets", "memberlist");
      const before = new Map<string, Seen>();
      for (const [plural, object] of objects) before.set(plural, await admin.apply(plural, object));
      await admin.apply("metallbs", metallb());
      await admin.apply("addresspools", addressPool("waiting", ["203.0.113.0/28"]));
      const degraded = await condition("metallbs", "metallb", "Degraded", "ForeignObject");
      await condition("addresspools", "waiting", "Valid", "Valid");
      await condition("addresspools", "waiting", "InEffect", "NoEffect");
      for (const name of ["config", "memberlist", "controller", "speaker"])
        expect(degraded.message).toContain(`metallb-system/${name} exists and is not ours`);
      await atRest();
      for (const [plural, seen] of before)
        expect(await admin.get(plural as Plural, seen.metadata.name)).toEqual(seen);

      for (const [plural, seen] of before) {
        const { name, uid } = seen.metadata;
        await admin.patch(plural as Plural, name, {
          metadata: { annotations: { "metallb.io/adopt": "true" } },
        });
        await eventually(async () => {
          const { metadata } = await admin.get(plural as Plural, name);
          return metadata.ownerReferences?.[0]?.kind === "MetalLB" && metadata.uid === uid;
        });
        before.delete(plural);
        await atRest();
        for (const [other, untouched] of before)
          expect(await admin.get(other as Plural, untouched.metadata.name)).toEqual(untouched);
      }
      await condition("metallbs", "metallb", "Degraded", "RollingOut");
      await condition("addresspools", "waiting", "InEffect", "AsWritten");
      expect(await admin.get("deployments", "controller")).toMatchObject({
        spec: { replicas: 1, template: { spec: { containers: [{ image: IMAGE }] } } },
      });
      // A key that speakers already talk under stays.
      const kept = await admin.get("secrets", "memberlist");
      expect(kept.data?.["secretkey"]).toBe(key.data.secretkey);
      await admin.delete("secrets", "memberlist");
    },
  );

  check("of two pools that overlap the later is invalid and names the other", async () => {
    await admin.apply("metallbs", metallb());
    await admin.apply("addresspools", addressPool("first", ["192.0.2.0/25"]));
    await condition("addresspools", "first", "Valid", "Valid");
    await admin.apply("addresspools", addressPool("second", ["192.0.2.100-192.0.2.200"]));
    const invalid = await condition("addresspools", "second", "Valid", "Overlapping");
    expect(invalid.status).toBe("False");
    expect(invalid.message).toContain("192.0.2.0/25 of AddressPool first");
    expect(addressesOf(await config(() => true))).toEqual({ first: ["192.0.2.0/25"] });
    await admin.delete("addresspools", "first");
    await condition("addresspools", "second", "Valid", "Valid");
    await config((seen) => addressesOf(seen)["second"] !== undefined);
  });

  check("keeps the accepted form of a pool that is edited into error, over a restart", async () => {
    await admin.apply("metallbs", metallb());
    await admin.apply("addresspools", addressPool("good", ["192.0.2.0/28"]));
    await admin.apply("addresspools", addressPool("edited", ["198.51.100.0/28"]));
    await config((seen) => seen["address-pools"].length === 2);
    // What CEL lets pass.
    const twice = ["203.0.113.0/28", "203.0.113.1"];
    await admin.apply("addresspools", addressPool("edited", twice));
    const invalid = await condition("addresspools", "edited", "Valid", "Overlapping");
    expect(invalid.message).toMatch(/spec.addresses\[1\].*198.51.100.0\/28/);
    await operator.end("SIGKILL");
    await admin.forgetLeader();
    operator = await OperatorProcess.start(plane);
    await operator.leading();
    await admin.apply("addresspools", addressPool("good", ["192.0.2.0/27"]));
    const rendered = await config((seen) => addressesOf(seen)["good"]?.[0] === "192.0.2.0/27");
    expect(addressesOf(rendered)).toEqual({ good: ["192.0.2.0/27"], edited: ["198.51.100.0/28"] });
    await admin.apply("addresspools", addressPool("edited", ["2001:db8::1-2001:db8::9"]));
    await config((seen) => addressesOf(seen)["edited"]?.[0] === "2001:db8::1-2001:db8::9");
    await condition("addresspools", "edited", "Valid", "Valid");
  });

  check("answers objects in the wrong namespace, with no other effect", async () => {
    const elsewhere = { namespace: "default" };
    await admin.apply("metallbs", metallb(withMetadata(elsewhere)), "default");
    const pool = addressPool("lost", ["192.0.2.0/28"], withMetadata(elsewhere));
    await admin.apply("addresspools", pool, "default");
    const [degraded, invalid] = [
      await condition("metallbs", "metallb", "Degraded", "WrongNamespace", "default"),
      await condition("addresspools", "lost", "Valid", "WrongNamespace", "default"),
    ];
    expect([degraded.status, invalid.status]).toEqual(["True", "False"]);
    expect(degraded.message).toContain(NAMESPACE);
    // Another operator, whose namespace it is, answers otherwise: it has the last word.
    const theirs = { ...invalid, status: "True", reason: "Valid", message: "of another operator" };
    const status = { conditions: [theirs] };
    await admin.patch("addresspools", "lost", { status }, true, "default");
    await admin.apply("metallbs", metallb());
    await config(() => true);
    const last = await condition("addresspools", "lost", "Valid", "Valid", "default");
    expect(last.message).toBe("of another operator");
    await admin.delete("metallbs", "metallb", "default");
    await admin.delete("addresspools", "lost", "default");
  });

  check(
    "makes nothing again after the MetalLB object is gone, and gives a new one all",
    async () => {
      await admin.apply("addresspools", addressPool("a", ["192.0.2.0/30"]));
      await admin.apply("metallbs", metallb());
      await allChildren();
      await admin.delete("metallbs", "metallb");
      await admin.delete("daemonsets", "speaker");
      await uninstalled("marker");
      await atRest();
      expect(await admin.has("daemonsets", "speaker")).toBe(false);
      const { metadata } = await admin.apply("metallbs", metallb());
      await eventually(async () => {
        for (const [plural, name] of CHILDREN) {
          const owners = (await admin.get(plural, name)).metadata.ownerReferences;
          expect(owners?.map(({ uid }) => uid)).toEqual([metadata.uid]);
        }
      });
    },
  );

  test(
    "finishes what a killed one began, wherever it was killed",
    async () => {
      const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000);
      process.stderr.write(`operator killed twenty times at random: SEED=${seed}\n`);
      const random = randomOf(seed);
      await admin.apply("addresspools", addressPool("a", ["192.0.2.0/30"]));
      await admin.apply("metallbs", metallb());
      for (let round = 0; round < 20; round++) {
        await operator.end("SIGKILL");
        for (const [plural, name] of CHILDREN) await admin.delete(plural, name);
        await admin.forgetLeader();
        operator = await OperatorProcess.start(plane);
        await operator.leading();
        // Applies take some hundred milliseconds from here: it is killed among them, or after.
        await new Promise((resolve) => setTimeout(resolve, 150 * random() ** 2));
      }
      await allChildren();
      const rendered = await config(() => true);
      expect(addressesOf(rendered)).toEqual({ a: ["192.0.2.0/30"] });
      await condition("addresspools", "a", "Valid", "Valid");
      await condition("metallbs", "metallb", "Progressing", "RollingOut");
    },
    5 * TEST_TIMEOUT_MS,
  );

  check("used all its rights, and asked for nothing that it may not do", async () => {
    const events = await plane.auditEvents();
    const own = events.filter(({ user }) => user.username.endsWith(":metallb-operator"));
    const refused = own.filter(({ responseStatus }) => responseStatus?.code === 403);
    expect(refused.map(({ verb, requestURI }) => `${verb} ${requestURI}`)).toEqual([]);
    const used = own.flatMap(({ verb, objectRef: { resource, subresource } = {}, ...event }) => {
      const what = `${resource ?? ""}${subresource === undefined ? "" : `/${subresource}`}`;
      // An apply that makes an object needs the right to create, and is logged as a patch.
      const isMade = verb === "patch" && event.responseStatus?.code === 201;
      return isMade ? [`create ${what}`, `patch ${what}`] : [`${verb} ${what}`];
    });
    // Servers with streaming lists are not asked for others; older ones are.
    const all = (await grantedRights()).filter((right) => !right.startsWith("list "));
    // For servers with OwnerReferencesPermissionEnforcement alone: see config/rbac.
    const granted = all.filter((right) => right !== "delete secrets");
    expect(granted.filter((right) => !used.includes(right))).toEqual([]);
  });

  const asLongAsAMinute = "writes nothing for a minute in which nothing happens, but its Lease";
  test(
    asLongAsAMinute,
    async () => {
      await admin.apply("addresspools", addressPool("a", ["192.0.2.0/30"]));
      await admin.apply("metallbs", metallb());
      await allChildren();
      await pretendReady();
      await condition("metallbs", "metallb", "Available", "Available");
      await atRest();
      const before = await writes();
      await new Promise((resolve) => setTimeout(resolve, 60_000));
      expect((await writes()).slice(before.length)).toEqual([]);
    },
    3 * TEST_TIMEOUT_MS,
  );

  const awayForAMinute = "survives an API server that is gone for a minute, and catches up";
  const gone = async (): Promise<void> => {
    await admin.apply("metallbs", metallb());
    await allChildren();
    await plane.stop();
    await new Promise((resolve) => setTimeout(resolve, 60_000));
    await plane.start();
    await admin.patch("deployments", "controller", { spec: { replicas: 3 } });
    await eventually(
      async () => {
        const { spec } = await admin.get("deployments", "controller");
        return spec?.["replicas"] === 1;
      },
      { deadlineMs: 90_000 },
    );
    expect(operator.exitCode).toBeNull();
  };
  test(awayForAMinute, gone, 4 * TEST_TIMEOUT_MS);
});
