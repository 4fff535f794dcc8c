/** What the benchmark of the operator applies. */
import { WEB_IMAGE, webServers } from "../../tests/cluster/images.ts";
import { addressPool, metallb, withPoolSpec } from "../../tests/support/builders.ts";

/** Namespace of the Service that is probed. */
export const NAMESPACE = "operator-bench";
/** The one MetalLB object. */
export const METALLB = metallb();
/** Name of the pool of the Service. */
export const POOL_NAME = "a-bench";
/** The pool of the Service, on the LAN. */
export const POOL = addressPool(POOL_NAME, ["172.30.9.0"]);

const RANGES_PER_POOL = 4;

/** 500 pools with 2,000 ranges, none on the LAN. */
export const MANY_POOLS = Array.from({ length: 500 }, (_, pool) => {
  const ranges = Array.from({ length: RANGES_PER_POOL }, (_unused, range) => {
    const number = pool * RANGES_PER_POOL + range;
    const prefix = `10.${100 + (number >> 8)}.${number & 255}`;
    return `${prefix}.1-${prefix}.20`;
  });
  return addressPool(
    `bench-${String(pool).padStart(3, "0")}`,
    ranges,
    withPoolSpec({ autoAssign: false }),
  );
});

/** A web server on every node, and its Service. */
export const WEB = [
  { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } },
  webServers(NAMESPACE, { name: "web", image: WEB_IMAGE, imagePullPolicy: "Never" }),
  {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "web", namespace: NAMESPACE },
    spec: {
      type: "LoadBalancer",
      selector: { app: "web" },
      ports: [{ port: 80, targetPort: 8080 }],
    },
  },
];
