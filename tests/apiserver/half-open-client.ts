/**
 * A reflector in a network namespace of its own. Listens on loopback there and passes what comes to a
 * Unix socket, behind which the test has the API server; between reflector and listener is the
 * namespace's loopback, where the test drops packets. Arguments: Unix socket, folder with the
 * administrator's credentials. Prints `port N`, then on each line of standard input the keys and
 * versions of its store as JSON, and `interrupted` whenever a watch ended.
 */
import { readFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { createClient } from "../../kubernetes/client.ts";
import { fixedConnection } from "../../kubernetes/connection.ts";
import { createLogger } from "../../kubernetes/logging.ts";
import { Reflector } from "../../kubernetes/reflector.ts";
import { SERVICES } from "../../kubernetes/resources.ts";

const SILENCE_MS = 2_000;
const [socketPath = "", credentials = ""] = process.argv.slice(2);

const listener = createServer((client) => {
  const server = connect(socketPath);
  client.pipe(server);
  server.pipe(client);
  client.on("error", () => server.destroy());
  server.on("error", () => client.destroy());
});
await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
const { port } = listener.address() as AddressInfo;

const file = (name: string): Buffer => readFileSync(join(credentials, name));
const tls = { ca: file("ca.crt"), cert: file("admin.crt"), key: file("admin.key") };
const client = await createClient({
  program: "half-open",
  connection: fixedConnection(`https://127.0.0.1:${port}`, { tls }),
});
const destination = new Writable({
  write: (chunk: Buffer, _encoding, done) => {
    const { end } = JSON.parse(chunk.toString()) as { end?: string };
    if (end !== undefined) console.log(`interrupted ${end}`);
    done();
  },
});
const logger = createLogger("half-open", "info", destination);
const reflector = new Reflector({ client, resource: SERVICES, silenceMs: SILENCE_MS, logger });
const stop = new AbortController();
const running = reflector.run(stop.signal);
await reflector.synced();
console.log(`port ${port}`);
for await (const _line of createInterface({ input: process.stdin })) {
  const entries = Array.from(reflector.store.values(), ({ metadata }) => [
    `${metadata.namespace ?? ""}/${metadata.name}`,
    metadata.resourceVersion ?? "",
  ]);
  console.log(`store ${JSON.stringify(Object.fromEntries(entries))}`);
}
stop.abort();
await running;
process.exit(0);
