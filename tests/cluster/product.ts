/** Our product on the test cluster, installed and looked at as a user would. */
import { join } from "node:path";
import type { Cluster } from "./cluster.ts";
import type { LanHost } from "./lan.ts";
import { waitFor } from "./wait.ts";

const TREE = join(import.meta.dirname, "../..");
/** Namespace that the product is installed in. */
export const PRODUCT_NAMESPACE = "metallb-system";

/** Installs the operator: `kubectl apply -k config/default`. */
export async function installOperator(cluster: Cluster): Promise<void> {
  await cluster.kubectl(["apply", "--server-side", "-k", join(TREE, "config/default")]);
  const deployment = "deployment/metallb-operator-controller-manager";
  await cluster.kubectl([
    "-n",
    PRODUCT_NAMESPACE,
    "rollout",
    "status",
    deployment,
    "--timeout=90s",
  ]);
}

/** Removes the operator and all of its objects: `kubectl delete -k config/default`. */
export async function removeOperator(cluster: Cluster): Promise<void> {
  const gone = ["--ignore-not-found", "--wait=true", "--timeout=120s"];
  await cluster.kubectl(["delete", "-k", join(TREE, "config/default"), ...gone]);
}

/** Waits until the MetalLB object says that all of it is there. */
export async function waitAvailable(cluster: Cluster, seconds = 90): Promise<void> {
  const wait = ["wait", "--for=condition=Available", "metallb/metallb", `--timeout=${seconds}s`];
  await cluster.kubectl(["-n", PRODUCT_NAMESPACE, ...wait]);
}

interface ServiceObject {
  readonly status?: { readonly loadBalancer?: { readonly ingress?: readonly { ip?: string }[] } };
}

/** The addresses that a Service has now. */
export async function addressesOf(
  cluster: Cluster,
  name: string,
  namespace = "default",
): Promise<string[]> {
  const service = await cluster.get<ServiceObject>("service", name, namespace);
  return (service?.status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) =>
    ip === undefined ? [] : [ip],
  );
}

/** Waits until a Service has that many addresses. */
export async function waitForAddresses(
  cluster: Cluster,
  name: string,
  count: number,
  namespace = "default",
): Promise<string[]> {
  return await waitFor(`${count} addresses of Service ${namespace}/${name}`, 60, async () => {
    const addresses = await addressesOf(cluster, name, namespace);
    return addresses.length === count && addresses;
  });
}

/** Waits until a page comes back through an address. */
export async function waitForAnswer(host: LanHost, address: string, seconds = 60): Promise<string> {
  return await waitFor(`an answer from ${address}`, seconds, () => host.fetch(address));
}

/** Name of the node that a client sends an address's packets to, by its neighbour table. */
export async function ownerSeenBy(
  cluster: Cluster,
  host: LanHost,
  address: string,
): Promise<string | undefined> {
  const hardwareAddress = await host.neighbour(address);
  return cluster.nodes.find((node) => node.layout.hardwareAddress() === hardwareAddress)?.name;
}
