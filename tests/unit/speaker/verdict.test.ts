import { describe, expect, test } from "@jest/globals";
import { address } from "../../../packet/address/address.ts";
import type { Election } from "../../../speaker/election.ts";
import type { ObservedAddress, Standing } from "../../../speaker/observation.ts";
import {
  addressVerdict,
  answerQuestion,
  formatVerdict,
  prefersJson,
  readQuestion,
  verdictOf,
  type Verdict,
} from "../../../speaker/verdict.ts";

const VIP = address("192.168.100.200"); // order by rank: node3, node2, node1
const SINCE = new Date("2026-01-02T03:04:05Z");
const WELL: Standing = { live: true, reason: undefined };
const election: Election = {
  candidates: ["node3", "node2", "node1"],
  prober: "node3",
  excluded: new Map(),
  farther: new Set(),
};
const observed = (more: Partial<ObservedAddress> = {}): ObservedAddress => ({
  address: VIP,
  election,
  settled: true,
  owner: "node3",
  term: 7,
  hindrance: undefined,
  since: SINCE,
  standing: () => WELL,
  foreign: undefined,
  unansweredBy: [],
  interfaces: ["eth0"],
  noInterface: { reason: "NoCarrier", message: "eth0: up without carrier" },
  ...more,
});
const NO_ADDRESS = { reason: "PoolExhausted", message: "pool office is full" } as const;

describe("the verdict on an address", () => {
  test("of its owner: announced, on which interfaces", () => {
    expect(addressVerdict(observed(), "node3")).toMatchObject({
      reason: "Announced",
      message: "announced by this node on eth0",
      owner: "node3",
      here: { reason: "Announced" },
    });
  });

  test("of another node: announced, and why not here, with each interface", () => {
    const noCarrier: Standing = { live: true, reason: "NoCarrier" };
    const standing = (node: string): Standing => (node === "node1" ? noCarrier : WELL);
    const verdict = addressVerdict(observed({ standing, interfaces: [] }), "node1");
    expect(verdict).toMatchObject({
      reason: "Announced",
      message: "announced by node3",
      here: { reason: "NoCarrier", message: "NoCarrier: eth0: up without carrier" },
      nodes: [
        { node: "node3", reason: "Announced" },
        { node: "node2", reason: "LowerRank" },
      ],
    });
  });

  test("of a contested one: the other host", () => {
    const foreign = { hardwareAddress: "02:00:00:00:00:99", since: SINCE };
    expect(addressVerdict(observed({ foreign }), "node1")).toMatchObject({
      reason: "AddressConflict",
      conflict: { hardwareAddress: "02:00:00:00:00:99", since: "2026-01-02T03:04:05Z" },
    });
  });
});

describe("the verdict on a Service", () => {
  const good = addressVerdict(observed(), "node3");
  const bad = addressVerdict(observed({ owner: undefined, hindrance: "probing" }), "node3");

  test("is announced when all addresses are", () => {
    expect(verdictOf("default/web", "node3", [good, good], NO_ADDRESS).reason).toBe("Announced");
  });

  test("is that of the first address that is not", () => {
    const verdict = verdictOf("default/web", "node3", [good, bad], NO_ADDRESS);
    expect(verdict.reason).toBe("Probing");
    expect(verdict.message).toMatch(/^192\.168\.100\.200: Probing/);
  });

  test("is why there is no address when there is none", () => {
    expect(verdictOf("default/web", "node3", [], NO_ADDRESS)).toMatchObject(NO_ADDRESS);
  });

  test("reads well", () => {
    const standing = (node: string): Standing =>
      node === "node2" ? { live: false, reason: "SpeakerDead", since: SINCE } : WELL;
    const verdict = addressVerdict(observed({ standing }), "node3");
    expect(formatVerdict(verdictOf("default/web", "node3", [verdict], NO_ADDRESS))).toBe(
      `Service default/web, as the speaker of node3 sees it: Announced

192.168.100.200: Announced
  announced by this node on eth0
  owner node3, term 7, since 2026-01-02T03:04:05Z
  node3  Announced    announced by this node on eth0
  node2  SpeakerDead  since 2026-01-02T03:04:05Z
  node1  LowerRank
`,
    );
    expect(formatVerdict(verdictOf("default/web", "node3", [], NO_ADDRESS))).toBe(
      `Service default/web, as the speaker of node3 sees it: PoolExhausted
  pool office is full
`,
    );
  });
});

describe("a question", () => {
  for (const [query, service] of [
    ["service=default/web", "default/web"],
    ["service=kube-system%2Fdns", "kube-system/dns"],
  ] as const)
    test(query, () => {
      expect(readQuestion(new URLSearchParams(query))).toEqual({ ok: true, service });
    });

  for (const [query, message] of [
    ["", /service has to be given once/],
    ["service=", /service has to be given once/],
    ["service=a/b&service=c/d", /service has to be given once/],
    ["service=web", /"web" is no namespace\/name/],
    ["service=a/b/c", /is no namespace\/name/],
    ["service=Default/Web", /is no namespace\/name/],
    ["service=../../etc", /is no namespace\/name/],
    ["svc=a/b", /parameter svc is not known: ask for \/verdict\?service=default\/web/],
  ] as const)
    test(`refused: ${query}`, () => {
      const question = readQuestion(new URLSearchParams(query));
      expect(question.ok ? "" : question.message).toMatch(message);
    });

  for (const [accept, json] of [
    [undefined, false],
    ["*/*", false],
    ["application/json", true],
    ["text/html,application/json", true],
    ["text/plain,application/json", false],
    ["text/plain;q=0.5,application/json", true],
    ["application/json;q=0.1, text/plain", false],
    ["application/*", true],
  ] as const)
    test(`Accept: ${accept} gets ${json ? "JSON" : "text"}`, () => {
      expect(prefersJson(accept)).toBe(json);
    });

  const witness = {
    verdict: (service: string): Verdict | undefined =>
      service === "default/web" ? verdictOf(service, "node3", [], NO_ADDRESS) : undefined,
  };
  const ask = (text: string, accept?: string) =>
    answerQuestion({ query: new URLSearchParams(text), accept }, witness);

  test("is answered as text or JSON", () => {
    expect(ask("service=default/web")).toMatchObject({
      status: 200,
      contentType: "text/plain; charset=utf-8",
      body: expect.stringContaining("PoolExhausted"),
    });
    const { body, contentType } = ask("service=default/web", "application/json");
    expect(contentType).toBe("application/json");
    expect(JSON.parse(body)).toMatchObject({ service: "default/web", reason: "PoolExhausted" });
  });

  test("about a Service that is not known or none of ours: 404, NotLoadBalancer", () => {
    const { status, body } = ask("service=default/other", "application/json");
    expect(status).toBe(404);
    expect(JSON.parse(body)).toEqual({
      error: expect.stringMatching(/^NotLoadBalancer: no Service default\/other of type/),
    });
  });

  test("that makes no sense: 400", () => {
    expect(ask("service=x")).toMatchObject({
      status: 400,
      body: 'service "x" is no namespace/name: ask for /verdict?service=default/web\n',
    });
  });
});
