/**
 * A contender for a lease as a process of its own, to be stopped and continued by signals: leads when
 * it can, and while it leads writes its identity and a counter into a ConfigMap, as fast as it can,
 * behind the guard. Arguments: kubeconfig, namespace, identity, lease duration in ms.
 */
import { createClient } from "../../kubernetes/client.ts";
import { LeaderElector } from "../../kubernetes/lease.ts";
import { CONFIG_MAPS } from "../../kubernetes/resources.ts";

const [kubeconfig = "", namespace = "", identity = "", duration = ""] = process.argv.slice(2);
const durationMs = Number(duration);
const client = await createClient({ program: identity, kubeconfig });
const elector = new LeaderElector({
  client,
  name: "contended",
  namespace,
  identity,
  leaseDurationMs: durationMs,
  renewDeadlineMs: (durationMs * 2) / 3,
  retryPeriodMs: durationMs / 8,
});
const guarded = client.guarded(() => elector.assertLeading());
const stop = new AbortController();
process.once("SIGTERM", () => stop.abort());

await elector.run(async (signal) => {
  console.log("leading");
  for (let count = 0; !signal.aborted; count++) {
    const data = { writer: identity, count: String(count) };
    await guarded
      .apply(CONFIG_MAPS, { metadata: { name: "written", namespace }, data }, {}, signal)
      .catch(() => undefined);
  }
}, stop.signal);
client.close();
