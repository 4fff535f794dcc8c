/** Loads one part of our programs, uses it once and waits: what is resident then is the part's cost. */
import type { AddressInfo } from "node:net";

const [part = ""] = process.argv.slice(2);

switch (part) {
  case "node":
    break;
  case "log":
    process.stdout.write("log\n");
    break;
  case "https":
    await useHttps();
    break;
  case "winston": {
    const { createLogger } = await import("../../kubernetes/logging.ts");
    createLogger("part").info("log");
    break;
  }
  case "prom-client": {
    const { Metrics } = await import("../../kubernetes/metrics.ts");
    new Metrics().collectDefaults();
    break;
  }
  case "ajv": {
    const { compiler } = await import("./ajv.ts");
    compiler({ meta: false, validateSchema: false }).compile({ type: "string" })("x");
    break;
  }
  case "ajv with meta-schema": {
    const { compiler } = await import("./ajv.ts");
    compiler({}).compile({ type: "string" })("x");
    break;
  }
  case "typebox": {
    const { Type } = await import("@sinclair/typebox");
    Type.Object({ field: Type.Optional(Type.String()) });
    break;
  }
  case "yaml": {
    const { copy } = await import("./yaml.ts");
    copy({ field: ["value"] });
    break;
  }
  case "client-node": {
    const { KubeConfig } = await import("@kubernetes/client-node/dist/config.js");
    new KubeConfig().loadFromString(JSON.stringify({ clusters: [], contexts: [], users: [] }));
    break;
  }
  default:
    throw new TypeError(`unknown part ${part}`);
}
setInterval(() => undefined, 1_000_000);

/** A TLS server and a connection to it, as the metrics endpoint and the client have. */
async function useHttps(): Promise<void> {
  const { issueCertificate } = await import("../../kubernetes/certificate.ts");
  const { createServer, request } = await import("node:https");
  const day = 86_400_000;
  const { certificate, key } = issueCertificate({
    commonName: "part",
    notBefore: new Date(Date.now() - day),
    notAfter: new Date(Date.now() + day),
    ipAddresses: ["127.0.0.1"],
  });
  const server = createServer({ cert: certificate, key }, (_request, response) => response.end());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) =>
    request({ host: "127.0.0.1", port, ca: certificate, agent: false }, resolve).end(),
  );
}
