/** What keeps a main thread busy: objects of the API server, parsed without pause. */

/** As many as a large cluster has Services. */
const OBJECTS = 20_000;

/** A list as the API server sends it, of about a kilobyte an object. */
function listText(): string {
  const items = Array.from({ length: OBJECTS }, (_none, i) => ({
    metadata: {
      name: `service-${i}`,
      namespace: `namespace-${i % 100}`,
      uid: crypto.randomUUID(),
      resourceVersion: String(1_000_000 + i),
      labels: { app: `application-${i}`, tier: "web" },
      annotations: { "metallb.io/address-pool": "default", note: "x".repeat(400) },
    },
    spec: {
      type: "LoadBalancer",
      clusterIP: `10.96.${i >> 8}.${i & 255}`,
      ports: [{ name: "http", protocol: "TCP", port: 80, targetPort: 8080, nodePort: 30_000 }],
      selector: { app: `application-${i}` },
    },
    status: { loadBalancer: { ingress: [{ ip: `10.1.${i >> 8}.${i & 255}` }] } },
  }));
  return JSON.stringify({ kind: "ServiceList", apiVersion: "v1", metadata: {}, items });
}

/** Parses on this thread until the returned function is called; events get their turn in between. */
export function parseWithoutPause(): () => void {
  const text = listText();
  let stopped = false;
  const turn = (): void => {
    if (stopped) return;
    JSON.parse(text);
    setImmediate(turn);
  };
  turn();
  return () => (stopped = true);
}
