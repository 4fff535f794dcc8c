/** How fast addresses are found, beside MetalLB's allocator. FULL=1 waits for the peer's /18, too. */
import { Allocator, type AddressRequest } from "../controller/allocator.ts";
import { readPools } from "../controller/pool.ts";
import { poolConfig } from "../tests/support/builders.ts";
import { buildPeer, peerAllocates } from "./controller/peer.ts";
import { report, type Figure } from "./support/report.ts";

const ROUNDS = 5;
/** The peer is quadratic: of a whole /18 one round takes minutes. */
const PEER_ROUNDS = 3;
const SMALL = { cidr: "10.0.0.0/20", count: 4_096 };
const MEDIUM = { cidr: "10.0.0.0/18", count: 16_384 };
const LARGE = { cidr: "10.0.0.0/15", count: 100_000 };
const IPV6 = { cidr: "fd00::/64", count: 100_000 };
const REFUSALS = 20_000;

interface Task {
  readonly cidr: string;
  readonly count: number;
}

function allocatorOf({ cidr }: Task): Allocator {
  const config = poolConfig("pool", [cidr], { "announce-from": "AllNodes" });
  const allocator = new Allocator();
  allocator.setPools(readPools([config]).pools);
  return allocator;
}

function request({ cidr }: Task, n: number): AddressRequest {
  return {
    service: `default/s${n}`,
    namespace: "default",
    namespaceLabels: {},
    labels: {},
    families: [cidr.includes(":") ? "ipv6" : "ipv4"],
    oneWillDo: false,
    terms: { key: "", backend: "", ports: ["TCP/80"] },
  };
}

/** Milliseconds to allocate from the one number to the other. */
function allocate(allocator: Allocator, task: Task, from: number, to: number): number {
  const start = performance.now();
  for (let n = from; n < to; n++) {
    if (!allocator.allocate(request(task, n), 0).ok) throw new Error("the pool is full too soon");
  }
  return performance.now() - start;
}

function seconds(task: Task): number {
  return allocate(allocatorOf(task), task, 0, task.count) / 1000;
}

/** CPU seconds of the same: what a machine with other work on it cannot stretch. */
function cpuSeconds(task: Task): number {
  const before = process.cpuUsage();
  seconds(task);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

/** Median of the microseconds that each of some calls takes; whatever else runs stretches only a few. */
function eachMicroseconds(from: number, to: number, call: (n: number) => unknown): number {
  const times: number[] = [];
  for (let n = from; n < to; n++) {
    const start = performance.now();
    call(n);
    times.push((performance.now() - start) * 1000);
  }
  return times.sort((a, b) => a - b)[times.length >> 1] ?? 0;
}

/** How much dearer one allocation is when 99 % are taken than when 1 % is. */
function dearness(): number {
  const allocator = allocatorOf(MEDIUM);
  const percent = Math.floor(MEDIUM.count / 100);
  const one = (n: number): unknown => allocator.allocate(request(MEDIUM, n), 0);
  allocate(allocator, MEDIUM, 0, percent);
  const early = eachMicroseconds(percent, 3 * percent, one);
  allocate(allocator, MEDIUM, 3 * percent, 98 * percent);
  return eachMicroseconds(98 * percent, 100 * percent, one) / early;
}

/** Microseconds to say no. */
function refusal(task: Task): number {
  const allocator = allocatorOf(task);
  allocate(allocator, task, 0, task.count);
  return eachMicroseconds(task.count, task.count + REFUSALS, (n) =>
    allocator.allocate(request(task, n), 0),
  );
}

function rounds<T>(count: number, measure: () => T): T[] {
  return Array.from({ length: count }, measure);
}

const peer = await buildPeer();
// Both are measured warm: a controller runs for months.
rounds(2, () => seconds(MEDIUM));

const small: { ours: number[]; peer: number[]; oursNo: number[]; peerNo: number[] } = {
  ours: [],
  peer: [],
  oursNo: [],
  peerNo: [],
};
for (let round = 0; round < PEER_ROUNDS; round++) {
  small.ours.push(seconds(SMALL));
  small.oursNo.push(refusal(SMALL));
  const theirs = await peerAllocates(peer, SMALL.cidr, SMALL.count);
  small.peer.push(theirs.seconds);
  small.peerNo.push(theirs.oneMoreMicroseconds);
}
const isFull = process.env["FULL"] === "1";
const medium: { ours: number[]; peer?: number[] } = isFull
  ? {
      ours: [seconds(MEDIUM)],
      peer: [(await peerAllocates(peer, MEDIUM.cidr, MEDIUM.count)).seconds],
    }
  : { ours: rounds(ROUNDS, () => seconds(MEDIUM)) };

const figures: Figure[] = [
  {
    figure: "4,096 addresses of a /20, one by one",
    unit: "s",
    ours: small.ours,
    peer: small.peer,
    targets: [],
  },
  {
    figure: "a full /20 says no",
    unit: "µs",
    ours: small.oursNo,
    peer: small.peerNo,
    targets: [{ is: "at most", value: 10 }],
  },
  {
    figure: "16,384 addresses of a /18, one by one",
    unit: "s",
    ...medium,
    targets: [{ is: "at most", value: 0.25 }],
  },
  {
    figure: "of that CPU time",
    unit: "s",
    ours: rounds(ROUNDS, () => cpuSeconds(MEDIUM)),
    targets: [{ is: "at most", value: 0.25 }],
  },
  {
    figure: "100,000 addresses of a /15, one by one",
    unit: "s",
    ours: rounds(ROUNDS, () => seconds(LARGE)),
    targets: [{ is: "at most", value: 2 }],
  },
  {
    figure: "of that CPU time",
    unit: "s",
    ours: rounds(ROUNDS, () => cpuSeconds(LARGE)),
    targets: [{ is: "at most", value: 2 }],
  },
  {
    figure: "100,000 addresses of an IPv6 /64, one by one",
    unit: "s",
    ours: rounds(ROUNDS, () => seconds(IPV6)),
    targets: [],
  },
  {
    figure: "one allocation at 99 % fill against one at 2 %",
    unit: "times",
    ours: rounds(ROUNDS, dearness),
    targets: [{ is: "at most", value: 2 }],
  },
  {
    figure: "a full /18 says no",
    unit: "µs",
    ours: rounds(ROUNDS, () => refusal(MEDIUM)),
    targets: [{ is: "at most", value: 10 }],
  },
];
report("allocator", figures);
