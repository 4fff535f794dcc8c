/** OLM gives each account the rights that config/rbac gives it, no more and no less. */
import { describe, expect, test } from "@jest/globals";
import type { KubernetesObject } from "../../../tools/bundle-config.ts";
import { clusterPermissions, namespacedRights } from "../../../tools/bundle-rights.ts";
import { CSV_PATH, document, documents } from "./documents.ts";

type Rule = Readonly<Record<string, readonly string[]>>;

interface RbacObject {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly ownerReferences?: readonly Readonly<Record<string, string>>[];
  };
  readonly rules?: readonly Rule[];
  readonly roleRef?: { readonly kind: string; readonly name: string };
  readonly subjects?: readonly Readonly<Record<string, string>>[];
}

interface Csv {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly install: {
      readonly spec: {
        readonly permissions?: unknown;
        readonly clusterPermissions: readonly { serviceAccountName: string; rules: Rule[] }[];
        readonly deployments: readonly { spec: { template: { spec: Record<string, unknown> } } }[];
      };
    };
  };
}

/** Single rights in words: `patch services/status in the cluster`. */
function rights(rules: readonly Rule[], where: string): string[] {
  return rules.flatMap(({ apiGroups = [], resources = [], verbs = [], resourceNames = [""] }) =>
    apiGroups.flatMap((group) =>
      resources.flatMap((resource) =>
        verbs.flatMap((verb) =>
          resourceNames.map((name) => `${verb} ${group}/${resource} ${name} ${where}`),
        ),
      ),
    ),
  );
}

/** What each account may, by bindings. */
function granted(objects: readonly RbacObject[]): Map<string, string[]> {
  const all = new Map<string, string[]>();
  for (const { kind, roleRef, subjects = [] } of objects) {
    if (roleRef === undefined) continue;
    const role = objects.find(
      (object) => object.kind === roleRef.kind && object.metadata.name === roleRef.name,
    );
    const where = kind === "ClusterRoleBinding" ? "in the cluster" : "in its namespace";
    for (const { name = "" } of subjects) {
      all.set(name, [...(all.get(name) ?? []), ...rights(role?.rules ?? [], where)].toSorted());
    }
  }
  return all;
}

const config = (documents("config/rbac/!(kustomization).yaml") as unknown as RbacObject[]);
const csv = document(CSV_PATH) as unknown as Csv;
const beside = (documents("bundle/manifests/*_rbac.*.yaml") as unknown as RbacObject[]);
const install = csv.spec.install.spec;

/** What OLM makes of the bundle: account, ClusterRole and binding of each clusterPermission. */
const made: RbacObject[] = [
  ...beside,
  ...install.clusterPermissions.flatMap(({ serviceAccountName: name, rules }) => [
    { kind: "ClusterRole", metadata: { name }, rules },
    {
      kind: "ClusterRoleBinding",
      metadata: { name },
      roleRef: { kind: "ClusterRole", name },
      subjects: [{ kind: "ServiceAccount", name }],
    },
  ]),
];

describe("rights under OLM", () => {
  test("are those of config/rbac, account by account", () => {
    expect(config.filter(({ kind }) => kind === "Role").length).toBeGreaterThan(0);
    expect(granted(made)).toEqual(granted(config));
  });

  test("cover every role and every account of config/rbac", () => {
    const bound = new Set(config.flatMap(({ roleRef }) => roleRef?.name ?? []));
    for (const { kind, metadata } of config) {
      if (kind === "Role" || kind === "ClusterRole") expect(bound).toContain(metadata.name);
    }
    const accounts = config.filter(({ kind }) => kind === "ServiceAccount");
    expect(accounts.map(({ metadata }) => metadata.name).toSorted()).toEqual(
      install.clusterPermissions.map(({ serviceAccountName }) => serviceAccountName).toSorted(),
    );
  });

  test("in the namespace are no `permissions`, which OLM can widen to the cluster", () => {
    expect(install.permissions).toBeUndefined();
  });

  test("in the namespace name no namespace and belong to the ClusterServiceVersion", () => {
    for (const { metadata, subjects = [] } of beside) {
      expect(metadata.namespace).toBeUndefined();
      expect(subjects.every((subject) => !("namespace" in subject))).toBe(true);
      expect(metadata.ownerReferences).toMatchObject([
        { kind: "ClusterServiceVersion", name: csv.metadata.name },
      ]);
    }
  });

  test("run the Deployment under an account that has them", () => {
    for (const { spec } of install.deployments) {
      expect([...granted(made).keys()]).toContain(spec.template.spec["serviceAccountName"]);
    }
  });
});

const object = (kind: string, name: string, more: object = {}): KubernetesObject => ({
  apiVersion: "v1",
  kind,
  metadata: { name, namespace: "metallb-system" },
  ...more,
});

describe("a right that OLM could not give is refused", () => {
  test("an account without a ClusterRole, which OLM would not make", () => {
    expect(() => clusterPermissions([object("ServiceAccount", "lonely")])).toThrow(/lonely/);
  });

  test("a binding to a ClusterRole that is not there", () => {
    const binding = object("ClusterRoleBinding", "dangling", {
      roleRef: { kind: "ClusterRole", name: "nowhere" },
      subjects: [{ kind: "ServiceAccount", name: "lonely" }],
    });
    expect(() => clusterPermissions([binding])).toThrow(/nowhere/);
  });

  test("a right in the namespace leaves its source untouched", () => {
    const role = object("Role", "some", { rules: [] });
    const before = structuredClone(role);
    namespacedRights([role], "some.v1.0.0");
    expect(role).toEqual(before);
  });
});
