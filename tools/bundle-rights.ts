/**
 * Divides the rights of `config/rbac` between a ClusterServiceVersion and objects beside it.
 *
 * Rights in the whole cluster become `clusterPermissions`, for which OLM makes accounts, roles and
 * bindings. Rights in the operator's namespace stay Roles and RoleBindings: `permissions` would say the
 * same, but where an OperatorGroup selects all namespaces OLM turns them into rights in the whole
 * cluster, and the operator could then delete every Deployment that there is.
 */
import type { KubernetesObject } from "./bundle-config.ts";

/** A rule of a Role. */
export type Rule = Readonly<Record<string, readonly string[]>>;

/** Rights of one account, as a ClusterServiceVersion has them. */
export interface Permission {
  readonly serviceAccountName: string;
  readonly rules: readonly Rule[];
}

interface Role extends KubernetesObject {
  readonly rules: readonly Rule[];
}

interface Binding extends KubernetesObject {
  readonly roleRef: { readonly kind: string; readonly name: string };
  readonly subjects: readonly {
    readonly kind: string;
    readonly name: string;
    readonly namespace?: string;
  }[];
}

const ofKind = <T extends KubernetesObject>(objects: readonly KubernetesObject[], kind: string) =>
  objects.filter((object) => object.kind === kind) as unknown as T[];

/**
 * Gives the rights that accounts have in the whole cluster.
 * @throws Error on an account that has none: OLM would not make it
 */
export function clusterPermissions(objects: readonly KubernetesObject[]): Permission[] {
  const roles = new Map(
    ofKind<Role>(objects, "ClusterRole").map(({ metadata, rules }) => [metadata.name, rules]),
  );
  const permissions = ofKind<Binding>(objects, "ClusterRoleBinding").flatMap((binding) => {
    const rules = roles.get(binding.roleRef.name);
    if (rules === undefined) {
      throw new Error(
        `ClusterRoleBinding ${binding.metadata.name}: no ClusterRole ${binding.roleRef.name}`,
      );
    }
    return binding.subjects.map(({ name }) => ({ serviceAccountName: name, rules }));
  });
  const known = new Set(permissions.map(({ serviceAccountName }) => serviceAccountName));
  const lost = ofKind(objects, "ServiceAccount").find(({ metadata }) => !known.has(metadata.name));
  if (lost !== undefined) {
    throw new Error(
      `ServiceAccount ${lost.metadata.name} has no ClusterRole: OLM would not make it`,
    );
  }
  return permissions;
}

/**
 * Gives the Roles and RoleBindings without a namespace (OLM fills it in, and a subject without one is
 * an account of the binding's), owned by the ClusterServiceVersion: OLM lets no other object of a
 * bundle follow it, and they would stay behind when the operator is uninstalled. OLM fills in the uid.
 */
export function namespacedRights(
  objects: readonly KubernetesObject[],
  csvName: string,
): KubernetesObject[] {
  const owner = {
    apiVersion: "operators.coreos.com/v1alpha1",
    kind: "ClusterServiceVersion",
    name: csvName,
    uid: "",
  };
  const owned = ({ namespace: _, ...metadata }: KubernetesObject["metadata"]) => ({
    ...metadata,
    ownerReferences: [owner],
  });
  const roles = ofKind(objects, "Role").map((role) => ({
    ...role,
    metadata: owned(role.metadata),
  }));
  const bindings = ofKind<Binding>(objects, "RoleBinding").map((binding) => ({
    ...binding,
    metadata: owned(binding.metadata),
    subjects: binding.subjects.map(({ namespace: _, ...subject }) => subject),
  }));
  return [...roles, ...bindings];
}
