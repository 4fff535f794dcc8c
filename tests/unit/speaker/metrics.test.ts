import { expect, test } from "@jest/globals";

import type { AddressObservation } from "../../../api/service-l2-status.ts";
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

const says = (address: string, reason: AddressObservation["reason"], ...names: string[]) => ({
  address,
  reason,
  term: 1,
  interfaces: names.map((name) => ({ name })),
});

test("addresses that a Service lost are shown no longer; contested ones are announced", async () => {
  const metrics = new Metrics();
  const shown = new SpeakerMetrics(metrics, "node-a");
  const lines = (): Promise<string[]> => linesOf(metrics, "metallb_speaker_announced");
  const said = async (reason: string): Promise<string> => {
    const all = await linesOf(metrics, "metallb_speaker_addresses");
    return all.find((line) => line.includes(`reason="${reason}"`))?.split(" ")[1] ?? "";
  };
  shown.said("default/web", [
    says("192.0.2.80", "Announced", "eth0"),
    says("192.0.2.81", "AddressConflict", "eth0"),
    says("192.0.2.82", "NoReadyEndpoint"),
  ]);
  expect(await lines()).toHaveLength(2);
  expect(await said("NoReadyEndpoint")).toBe("1");
  shown.said("default/web", [says("192.0.2.81", "Announced", "eth0")]);
  expect(await lines()).toEqual([
    'metallb_speaker_announced{service="default/web",protocol="layer2",node="node-a",ip="192.0.2.81"} 1',
  ]);
  expect(await said("NoReadyEndpoint")).toBe("0");
  expect(await said("Announced")).toBe("1");
});

test("what happens among the speakers is counted, with every cause at zero from the start", async () => {
  const metrics = new Metrics();
  const shown = new SpeakerMetrics(metrics, "node-a");
  shown.moved([
    { address: V4, taken: true, cause: "takeover", tookMs: 430 },
    { address: V4, taken: false, cause: "handover" },
  ]);
  shown.members([
    { name: "a", live: true, status: "active", links: [], keyIds: [] },
    { name: "b", live: false, status: "active", reason: "SpeakerDead", links: [], keyIds: [] },
  ]);
  shown.count({
    interfaces: [],
    addresses: [],
    conversation: {
      sent: 5,
      received: 4,
      events: { suspicions: 2 },
      refused: { "bad-tag": 3 },
      roundTrips: [100],
    },
  });
  const all = await metrics.registry.metrics();
  for (const line of [
    'metallb_speaker_ownership_changes_total{change="taken",cause="takeover"} 1',
    'metallb_speaker_ownership_changes_total{change="released",cause="handover"} 1',
    'metallb_speaker_ownership_changes_total{change="taken",cause="forced"} 0',
    'metallb_speaker_takeover_duration_seconds_bucket{le="0.4"} 0',
    'metallb_speaker_takeover_duration_seconds_bucket{le="0.45"} 1',
    'metallb_speaker_members{state="active"} 1',
    'metallb_speaker_members{state="dead"} 1',
    'metallb_speaker_members{state="draining"} 0',
    'metallb_speaker_datagrams_total{direction="sent"} 5',
    'metallb_speaker_datagrams_refused_total{reason="bad-tag"} 3',
    'metallb_speaker_datagrams_refused_total{reason="malformed"} 0',
    'metallb_speaker_protocol_events_total{event="suspicions"} 2',
    'metallb_speaker_heartbeat_round_trip_seconds_bucket{le="0.1"} 1',
  ])
    expect(all).toContain(`${line}\n`);
});

test("whether the last configuration was taken is shown under MetalLB's names", async () => {
  const metrics = new Metrics();
  const shown = new SpeakerMetrics(metrics, "node-a");
  const values = async (): Promise<string[]> =>
    [
      ...(await linesOf(metrics, "metallb_k8s_client_config_loaded_bool")),
      ...(await linesOf(metrics, "metallb_k8s_client_config_stale_bool")),
    ].map((line) => line.split(" ")[1] ?? "");
  expect(await values()).toEqual(["0", "0"]);
  shown.configuration("refused");
  expect(await values()).toEqual(["0", "1"]);
  shown.configuration("taken");
  expect(await values()).toEqual(["1", "0"]);
});
