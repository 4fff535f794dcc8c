import { expect, test } from "@jest/globals";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ControlPlane, UP_TIMEOUT_MS } from "../support/control-plane.ts";
import { eventually } from "../support/eventually.ts";
import { describeWith } from "../support/requirements.ts";

const CONTROL_PLANE = join(import.meta.dirname, "../support/control-plane.ts");
const DEADLINE_MS = 30_000;

describeWith("setpriv")("a control plane for tests", () => {
  test(
    "knows ServiceAccounts by their tokens, keeps its data over a restart and logs who asked",
    async () => {
      await using plane = await ControlPlane.up();
      await plane.kubectl("create", "namespace", "a");
      await plane.kubectl("create", "serviceaccount", "reader", "-n", "a");
      await plane.stop();
      await expect(plane.call({ method: "GET", path: "/readyz" })).rejects.toThrow();
      await plane.start();
      const token = await plane.token("a", "reader");
      const secrets = { method: "GET", path: "/api/v1/namespaces/a/secrets" } as const;
      expect((await plane.call({ ...secrets, token })).status).toBe(403);
      expect((await plane.call(secrets)).status).toBe(200);
      const mine = (await plane.auditEvents()).filter(({ user }) =>
        user.username.endsWith(":reader"),
      );
      expect(mine).toMatchObject([{ verb: "list", responseStatus: { code: 403 } }]);
    },
    UP_TIMEOUT_MS,
  );

  test(
    "its processes end when the process that started them is killed",
    async () => {
      const script = `
        import { ControlPlane } from ${JSON.stringify(CONTROL_PLANE)};
        const plane = await ControlPlane.up();
        console.log(plane.directory);
        setInterval(() => undefined, 1000);`;
      const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const [output] = (await once(child.stdout, "data")) as [Buffer];
      const directory = output.toString().trim();
      expect(processesIn(directory)).toHaveLength(2);
      child.kill("SIGKILL");
      await once(child, "exit");
      await eventually(() => processesIn(directory).length === 0, { deadlineMs: DEADLINE_MS });
      await using _next = await ControlPlane.up();
      expect(existsSync(directory)).toBe(false);
    },
    UP_TIMEOUT_MS,
  );
});

/** Ids of the processes that name a folder in their command line. */
function processesIn(directory: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(directory);
    } catch {
      // It ended while we were looking.
      return false;
    }
  });
}
