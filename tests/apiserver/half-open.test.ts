import { expect, test } from "@jest/globals";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { createClient } from "../../kubernetes/client.ts";
import { NAMESPACES, SERVICES } from "../../kubernetes/resources.ts";
import { objectKey } from "../../kubernetes/store.ts";
import { ControlPlane, UP_TIMEOUT_MS } from "../support/control-plane.ts";
import { eventually } from "../support/eventually.ts";
import { createLan } from "../support/netns.ts";
import { describeWith } from "../support/requirements.ts";

const namespace = "half-open";

describeWith(
  "netns",
  "nft",
  "setpriv",
)("a reflector behind a path that drops packets", () => {
  test(
    "finds the half-open connection by its silence and catches up when the path is back",
    async () => {
      await using plane = await ControlPlane.up();
      using direct = await createClient({ program: "test", kubeconfig: plane.kubeconfig });
      await direct.apply(NAMESPACES, { metadata: { name: namespace } });
      await using lan = await createLan({ hosts: 1 });
      const socketPath = join(plane.directory, "api.socket");
      await using _passage = await passage(socketPath, new URL(plane.server));
      const host = lan.host(1);
      const script = join(import.meta.dirname, "half-open-client.ts");
      // Jest's own options are nothing for another program.
      const child = host.start(
        "env",
        "-u",
        "NODE_OPTIONS",
        process.execPath,
        script,
        socketPath,
        plane.directory,
      );
      const heard: string[] = [];
      createInterface({ input: child.stdout! }).on("line", (line) => heard.push(line));
      child.stderr?.pipe(process.stderr);
      const last = (word: string): string | undefined =>
        heard.findLast((line) => line.startsWith(`${word} `))?.slice(word.length + 1);
      const port = await eventually(() => last("port") ?? false, { deadlineMs: 60_000 });

      const drop = `add rule inet cut loopback tcp dport ${port} drop; add rule inet cut loopback tcp sport ${port} drop`;
      const chain = "add chain inet cut loopback { type filter hook input priority 0; }";
      await host.run("nft", `add table inet cut; ${chain}; ${drop}`);
      for (let index = 0; index < 10; index++) {
        const metadata = { name: `s${index}`, namespace };
        await direct.apply(SERVICES, {
          metadata,
          spec: { clusterIP: "None", ports: [{ port: 80 }] },
        });
      }
      await eventually(() => last("interrupted") === "Unreachable", { deadlineMs: 60_000 });
      expect(heard).toContain("interrupted Silent");
      await host.run("nft", "delete table inet cut");

      const { items } = await direct.list(SERVICES);
      const fresh = Object.fromEntries(
        items.map((item) => [objectKey(item), item.metadata.resourceVersion]),
      );
      await eventually(
        () => {
          child.stdin?.write("\n");
          expect(JSON.parse(last("store") ?? "{}")).toEqual(fresh);
        },
        { deadlineMs: 60_000 },
      );
      child.stdin?.end();
      await once(child, "exit");
    },
    UP_TIMEOUT_MS,
  );
});

/** A Unix socket that leads to a TCP port: namespaces share the file system, not the loopback. */
async function passage(path: string, to: URL): Promise<AsyncDisposable> {
  const server = createServer((inside) => {
    const outside = connect({ host: to.hostname, port: Number(to.port) });
    inside.pipe(outside);
    outside.pipe(inside);
    inside.on("error", () => outside.destroy());
    outside.on("error", () => inside.destroy());
    inside.on("close", () => outside.destroy());
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    [Symbol.asyncDispose]: async () => {
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
