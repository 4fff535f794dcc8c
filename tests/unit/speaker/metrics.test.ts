import { expect, test } from "@jest/globals";

import { Metrics } from "../../../kubernetes/metrics.ts";
import { address } from "../../../packet/address/address.ts";
import { SpeakerMetrics } from "../../../speaker/metrics.ts";

const V4 = address("192.0.2.80");
const QUIET = { received: 0, answered: 0, drops: {}, overruns: 0, refused: 0 };

async function linesOf(metrics: Metrics, name: string): Promise<string[]> {
  const text = await metrics.registry.getSingleMetricAsString(name);
  return text.split("\n").filter((line) => line.startsWith(name));
}

test("counts of the responder add up, by address and by interface", async () => {
  const metrics = new Metrics();
  const shown = new SpeakerMetrics(metrics, "node-a");
  const traffic = { received: 3, answered: 2, announced: 4, conflicts: 1, drops: { hopLimit: 1 } };
  for (const interfaceName of ["eth0", "eth1"])
    shown.count({ interfaces: [], addresses: [{ address: V4, interfaceName, ...traffic }] });
  for (const [name, value] of [
    ["metallb_layer2_requests_received", 6],
    ["metallb_layer2_responses_sent", 4],
    ["metallb_layer2_gratuitous_sent", 8],
    ["metallb_layer2_conflicts_total", 2],
  ] as const)
    expect(await linesOf(metrics, name)).toEqual([`${name}{ip="${V4}"} ${value}`]);
  expect(await linesOf(metrics, "metallb_layer2_address_frames_dropped_total")).toEqual([
    `metallb_layer2_address_frames_dropped_total{ip="${V4}",reason="hopLimit"} 2`,
  ]);
});

test("an interface has every drop reason at zero from its first report on", async () => {
  const metrics = new Metrics();
  const shown = new SpeakerMetrics(metrics, "node-a");
  const counts = { ...QUIET, name: "eth0", received: 5, answered: 3, drops: { checksum: 2 } };
  shown.count({ interfaces: [{ ...counts, overruns: 7, refused: 1, exact: true }], addresses: [] });
  const drops = await linesOf(metrics, "metallb_layer2_frames_dropped_total");
  const of = (reason: string): string =>
    `metallb_layer2_frames_dropped_total{interface="eth0",reason="${reason}"}`;
  expect(drops).toContain(`${of("checksum")} 2`);
  expect(drops).toContain(`${of("oversized")} 0`);
  expect(await linesOf(metrics, "metallb_layer2_socket_overruns_total")).toEqual([
    'metallb_layer2_socket_overruns_total{interface="eth0"} 7',
  ]);
  expect(await linesOf(metrics, "metallb_layer2_send_refused_total")).toEqual([
    'metallb_layer2_send_refused_total{interface="eth0"} 1',
  ]);
});

test("whether the filter is exact is shown while the interface is open", async () => {
  const metrics = new Metrics();
  const shown = new SpeakerMetrics(metrics, "node-a");
  const report = (exact?: boolean): void =>
    shown.count({
      interfaces: [{ ...QUIET, name: "eth0", ...(exact === undefined ? {} : { exact }) }],
      addresses: [],
    });
  const lines = (): Promise<string[]> => linesOf(metrics, "metallb_layer2_filter_exact");
  report(true);
  expect(await lines()).toEqual(['metallb_layer2_filter_exact{interface="eth0"} 1']);
  report(false);
  expect(await lines()).toEqual(['metallb_layer2_filter_exact{interface="eth0"} 0']);
  report();
  expect(await lines()).toEqual([]);
});

test("addresses that a Service lost are shown no longer", async () => {
  const metrics = new Metrics();
  const shown = new SpeakerMetrics(metrics, "node-a");
  const lines = (): Promise<string[]> => linesOf(metrics, "metallb_speaker_announced");
  shown.announced("default/web", ["192.0.2.80", "192.0.2.81"]);
  shown.announced("default/web", ["192.0.2.81"]);
  expect(await lines()).toEqual([
    'metallb_speaker_announced{service="default/web",protocol="layer2",node="node-a",ip="192.0.2.81"} 1',
  ]);
});
