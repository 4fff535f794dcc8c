import { describe, expect, test } from "@jest/globals";
import { AddressMap } from "../../../packet/address/address-map.ts";
import { address } from "../../../packet/address/address.ts";
import { ALL_NODES, type IPv6Address } from "../../../packet/address/ipv6.ts";
import type { IPv4Address } from "../../../packet/address/ipv4.ts";
import { BROADCAST_MAC, ZERO_MAC, type MacAddress } from "../../../packet/address/mac.ts";
import { solicitedNodeAddress } from "../../../packet/address/multicast.ts";
import { internetChecksum } from "../../../packet/wire/checksum.ts";
import {
  decodeFrame,
  encodeArpFrame,
  encodeNdpFrame,
  type ArpFrame,
  type NdpFrame,
} from "../../../packet/wire/frame.ts";
import {
  MAX_REPLY_LENGTH,
  prepareInterface,
  respond,
  type AnnouncedAddress,
  type DropReason,
  type InterfaceFacts,
  type Verdict,
} from "../../../speaker/responder.ts";
import { embed } from "../../support/codec.ts";
import { fromHex, golden, toHex } from "../../support/hex.ts";

const mac = (text: string): MacAddress => text as MacAddress;
const ipv4 = (text: string): IPv4Address => text as IPv4Address;
const ipv6 = (text: string): IPv6Address => text as IPv6Address;

const own = mac("02:00:00:00:00:01");
const client = mac("02:00:00:00:00:02");
const intruder = mac("02:00:00:00:00:66");
const colleague = mac("02:00:00:00:00:0c");
const facts: InterfaceFacts = { name: "eth0", mac: own, linkLocal: ipv6("fe80::ff:fe00:1") };

const announced: readonly AnnouncedAddress[] = [
  { address: address("10.9.0.100"), state: "announced" },
  { address: address("10.9.0.101"), state: "probing" },
  { address: address("10.9.0.102"), state: "announced", interfaces: new Set(["eth1"]) },
  { address: address("200.0.0.1"), state: "announced", interfaces: new Set(["eth0"]) },
  { address: address("2001:db8::100"), state: "announced" },
  { address: address("2001:db8::101"), state: "probing" },
  { address: address("2001:db8::102"), state: "announced", interfaces: new Set(["eth1"]) },
];
const table = new AddressMap<AnnouncedAddress>();
for (const entry of announced) table.set(entry.address, entry);

/** What becomes of a frame on eth0: the reply in hexadecimal, or the verdict. */
function hear(frame: Uint8Array, on: InterfaceFacts = facts): Verdict & { hex?: string } {
  const reply = new Uint8Array(MAX_REPLY_LENGTH + 20).fill(0xa5);
  const before = toHex(frame);
  const verdict = respond(embed(frame), prepareInterface(on), table, new Set([colleague]), reply);
  expect(toHex(frame)).toBe(before);
  if (verdict.outcome !== "reply") {
    expect(reply.every((octet) => octet === 0xa5)).toBe(true);
    return verdict;
  }
  expect(reply.subarray(verdict.length).every((octet) => octet === 0xa5)).toBe(true);
  expect(decodeFrame(reply.subarray(0, verdict.length))).toMatchObject({ ok: true });
  return { ...verdict, hex: toHex(reply.subarray(0, verdict.length)) };
}

function entryOf(text: string): AnnouncedAddress {
  const entry = table.get(address(text));
  if (entry === undefined) throw new TypeError(text);
  return entry;
}

type ArpFields = Partial<ArpFrame["packet"]> & Partial<Pick<ArpFrame, "source" | "destination">>;

/** A broadcast request of the client for 10.9.0.100, but for what is said otherwise. */
function arp(fields: ArpFields = {}): Uint8Array<ArrayBuffer> {
  const { source = client, destination = BROADCAST_MAC, ...packet } = fields;
  return encodeArpFrame({
    source,
    destination,
    packet: {
      operation: 1,
      senderHardwareAddress: client,
      senderProtocolAddress: ipv4("10.9.0.2"),
      targetHardwareAddress: ZERO_MAC,
      targetProtocolAddress: ipv4("10.9.0.100"),
      ...packet,
    },
  });
}

type NdpFields = Partial<Omit<NdpFrame, "kind" | "message">> & {
  readonly target?: IPv6Address;
  readonly options?: NdpFrame["message"]["options"];
};

const sourceOption = { kind: "sourceLinkLayerAddress", address: client } as const;

/** A multicast solicitation of the client for 2001:db8::100, but for what is said otherwise. */
function solicitation(fields: NdpFields = {}): Uint8Array<ArrayBuffer> {
  const target = fields.target ?? ipv6("2001:db8::100");
  return encodeNdpFrame({
    source: fields.source ?? client,
    sourceAddress: fields.sourceAddress ?? ipv6("2001:db8::2"),
    destinationAddress: fields.destinationAddress ?? solicitedNodeAddress(target),
    ...(fields.destination === undefined ? {} : { destination: fields.destination }),
    message: {
      kind: "neighborSolicitation",
      targetAddress: target,
      options: fields.options ?? [sourceOption],
    },
  });
}

/** An advertisement of the intruder for 2001:db8::100, but for what is said otherwise. */
function advertisement(fields: NdpFields & { solicited?: boolean } = {}): Uint8Array<ArrayBuffer> {
  return encodeNdpFrame({
    source: fields.source ?? intruder,
    sourceAddress: fields.sourceAddress ?? ipv6("fe80::66"),
    destinationAddress: fields.destinationAddress ?? ALL_NODES,
    message: {
      kind: "neighborAdvertisement",
      router: false,
      solicited: fields.solicited ?? false,
      override: true,
      targetAddress: fields.target ?? ipv6("2001:db8::100"),
      options: fields.options ?? [{ kind: "targetLinkLayerAddress", address: intruder }],
    },
  });
}

/** Changes octets of an NDP frame and mends its checksum, so that only the change is at fault. */
function tamper(frame: Uint8Array, changes: Readonly<Record<number, number>>): Uint8Array {
  const octets = Uint8Array.from(frame);
  for (const [offset, octet] of Object.entries(changes)) octets[Number(offset)] = octet;
  octets.set([0, 0], 56);
  const end = 54 + (octets[18] ?? 0) * 256 + (octets[19] ?? 0);
  const pseudo = [...octets.subarray(22, 54), 0, 0, 0, end - 54, 0, 0, 0, 58];
  const sum = internetChecksum(Uint8Array.of(...pseudo, ...octets.subarray(54, end)));
  octets.set([sum >> 8, sum & 255], 56);
  return octets;
}

describe("answers ARP", () => {
  const reply =
    "020000000002020000000001080600010800060400020200000000010a0900640200000000020a090002" +
    "00".repeat(18);

  test.each([
    ["a broadcast request, padded to 60 octets", arp(), reply],
    ["a request of 42 octets", arp().subarray(0, 42), reply],
    ["a unicast request", arp({ destination: own }), reply],
    [
      "a request whose sender's MAC address is not the frame's: to the ARP sender (RFC 826)",
      arp({ source: mac("02:00:00:00:00:09") }),
      reply,
    ],
    [
      "an ARP Probe, sender 0.0.0.0 (RFC 5227 §2.5)",
      arp({ senderProtocolAddress: ipv4("0.0.0.0") }),
      reply.replace("0200000000020a090002", "02000000000200000000"),
    ],
    [
      "a request with a target hardware address that is not ours",
      arp({ targetHardwareAddress: intruder }),
      reply,
    ],
    [
      "an address above 127.255.255.255, announced on this interface alone",
      arp({ targetProtocolAddress: ipv4("200.0.0.1") }),
      reply.replace("0a090064", "c8000001"),
    ],
  ])("%s", (_, frame, hex) => {
    expect(hear(frame)).toMatchObject({ outcome: "reply", length: 60, hex });
  });

  test("names the address that was asked for", () => {
    expect(hear(arp())).toMatchObject({ announced: entryOf("10.9.0.100") });
  });

  test.each(["arp-request-arping", "arp-probe-arping", "arp-request-kernel"])(
    "%s as the kernel answered it, but padded",
    (question) => {
      const on = { ...facts, mac: mac("02:00:00:00:0b:02") };
      const entry: AnnouncedAddress = { address: address("192.0.2.2"), state: "announced" };
      const reply = new Uint8Array(MAX_REPLY_LENGTH);
      const kernel = new AddressMap<AnnouncedAddress>();
      kernel.set(entry.address, entry);
      const verdict = respond(golden(question), prepareInterface(on), kernel, new Set(), reply);
      expect(verdict).toMatchObject({ outcome: "reply", length: 60 });
      const answer = question.includes("probe") ? "arp-reply-to-probe-kernel" : "arp-reply-kernel";
      expect(toHex(reply.subarray(0, 60))).toBe(toHex(golden(answer)) + "00".repeat(18));
    },
  );
});

describe("answers Neighbor Solicitations", () => {
  const expected = (flags: string, rest: string): RegExp =>
    new RegExp(`^${rest}.*88 ?00....${flags}`);

  test("multicast: to the sender, solicited and override, hop limit 255, with our MAC address", () => {
    const { hex = "" } = hear(solicitation());
    expect(decodeFrame(fromHex(hex))).toEqual({
      ok: true,
      value: {
        kind: "ndp",
        destination: client,
        source: own,
        hopLimit: 255,
        code: 0,
        sourceAddress: facts.linkLocal,
        destinationAddress: "2001:db8::2",
        message: {
          kind: "neighborAdvertisement",
          router: false,
          solicited: true,
          override: true,
          targetAddress: "2001:db8::100",
          options: [{ kind: "targetLinkLayerAddress", address: own }],
        },
      },
    });
  });

  test.each([
    [
      "a unicast one, as Neighbor Unreachability Detection sends it",
      solicitation({ destination: own, destinationAddress: ipv6("2001:db8::100") }),
    ],
    [
      "a unicast one without source link-layer address: to the Ethernet source",
      solicitation({ destination: own, destinationAddress: ipv6("2001:db8::100"), options: [] }),
    ],
    ["a multicast one without source link-layer address", solicitation({ options: [] })],
    [
      "one whose source link-layer address is not the Ethernet source: to the option's",
      solicitation({ source: mac("02:00:00:00:00:09") }),
    ],
    [
      "one with options that we do not know (RFC 4861 §7.1.1)",
      solicitation({
        options: [{ kind: "other", type: 99, value: new Uint8Array(14) }, sourceOption],
      }),
    ],
    ["one with reserved bits set (RFC 4861 §7.1.1)", tamper(solicitation(), { 58: 255, 61: 255 })],
    ["one with octets of padding behind it", Uint8Array.of(...solicitation(), 1, 2, 3)],
  ])("%s", (_, frame) => {
    const { hex = "" } = hear(frame);
    expect(hex).toMatch(expected("60", "020000000002020000000001"));
  });

  test("a probe for duplicates: multicast to all nodes, not solicited (RFC 4861 §7.2.4)", () => {
    const { hex = "" } = hear(solicitation({ sourceAddress: ipv6("::"), options: [] }));
    expect(decodeFrame(fromHex(hex))).toMatchObject({
      value: {
        destination: "33:33:00:00:00:01",
        destinationAddress: "ff02::1",
        message: { solicited: false, override: true, targetAddress: "2001:db8::100" },
      },
    });
  });

  test.each([
    ["ns-multicast-kernel", "na-solicited-kernel"],
    ["ns-dad-duplicate-kernel", "na-to-dad-kernel"],
  ])("%s as the kernel answered it", (question, answer) => {
    const target = address("2001:db8::2");
    // The kernel answers from the address itself, we from our link-local one.
    const on = { ...facts, mac: mac("02:00:00:00:0b:02"), linkLocal: target as IPv6Address };
    const kernel = new AddressMap<AnnouncedAddress>();
    kernel.set(target, { address: target, state: "announced" });
    const reply = new Uint8Array(MAX_REPLY_LENGTH);
    respond(golden(question), prepareInterface(on), kernel, new Set(), reply);
    expect(toHex(reply)).toBe(toHex(golden(answer)));
  });

  test("ns-multicast-ndisc6 from a link-local address", () => {
    const target = address("2001:db8::2");
    const kernel = new AddressMap<AnnouncedAddress>();
    kernel.set(target, { address: target, state: "announced" });
    const reply = new Uint8Array(MAX_REPLY_LENGTH);
    respond(golden("ns-multicast-ndisc6"), prepareInterface(facts), kernel, new Set(), reply);
    expect(decodeFrame(reply)).toMatchObject({
      ok: true,
      value: { destination: "02:00:00:00:0a:01", destinationAddress: "fe80::ff:fe00:a01" },
    });
  });
});

const arpHex = toHex(arp());
const zeros = solicitation({ sourceAddress: ipv6("::"), options: [] });
const drops: readonly (readonly [string, Uint8Array, DropReason])[] = [
  ["a frame of 13 octets", arp().subarray(0, 13), "truncated"],
  ["ARP of 27 octets", arp().subarray(0, 41), "truncated"],
  ["a frame in an IEEE 802.1Q tag", fromHex(arpHex.replace("0806", "810000640806")), "vlanTag"],
  ["a frame in an IEEE 802.1ad tag", fromHex(arpHex.replace("0806", "88a800640806")), "vlanTag"],
  ["IPv4", fromHex(arpHex.replace("0806", "0800")), "otherEtherType"],
  ["our own ARP frame come back", arp({ source: own }), "ownFrame"],
  ["ARP in our name by a proxy", arp({ senderHardwareAddress: own }), "ownFrame"],
  ["ARP for IEEE 802 hardware", fromHex(arpHex.replace("08060001", "08060006")), "hardwareType"],
  ["ARP for another protocol", fromHex(arpHex.replace("0800", "86dd")), "protocolType"],
  ["ARP with long hardware addresses", fromHex(arpHex.replace("0604", "0804")), "addressLength"],
  ["ARP with long protocol addresses", fromHex(arpHex.replace("0604", "0610")), "addressLength"],
  [
    "a request for another's address",
    arp({ targetProtocolAddress: ipv4("10.9.0.99") }),
    "notAnnounced",
  ],
  [
    "a request for an address of another interface",
    arp({ targetProtocolAddress: ipv4("10.9.0.102") }),
    "notOnThisInterface",
  ],
  ["an ARP reply", arp({ operation: 2 }), "notRequest"],
  ["an ARP operation that we do not know", arp({ operation: 3 }), "notRequest"],
  [
    "a request for an address being probed",
    arp({ targetProtocolAddress: ipv4("10.9.0.101") }),
    "probing",
  ],
  ["a unicast request to another's MAC address", arp({ destination: intruder }), "notForUs"],
  [
    "a request to a group that is not broadcast",
    arp({ destination: mac("01:00:5e:00:00:01") }),
    "notForUs",
  ],
  ["a request from no MAC address", arp({ senderHardwareAddress: ZERO_MAC }), "senderNotUnicast"],
  [
    "a request from the broadcast MAC address",
    arp({ senderHardwareAddress: BROADCAST_MAC }),
    "senderNotUnicast",
  ],
  [
    "a claim from the broadcast MAC address",
    arp({ senderHardwareAddress: BROADCAST_MAC, senderProtocolAddress: ipv4("10.9.0.100") }),
    "senderNotUnicast",
  ],
  [
    "an announcement by another of our speakers",
    arp({ senderHardwareAddress: colleague, senderProtocolAddress: ipv4("10.9.0.100") }),
    "colleagueClaim",
  ],
  [
    "a claim of an address of another interface",
    arp({
      senderProtocolAddress: ipv4("10.9.0.102"),
      targetProtocolAddress: ipv4("10.9.0.102"),
    }),
    "notOnThisInterface",
  ],
  ["IPv6 of 39 octets", solicitation().subarray(0, 53), "truncated"],
  ["IPv6 shorter than its header says", solicitation().subarray(0, 85), "truncated"],
  ["version 4 under IPv6's EtherType", tamper(solicitation(), { 14: 0x40 }), "ipVersion"],
  ["UDP", tamper(solicitation(), { 20: 17 }), "notIcmpv6"],
  ["a fragment (RFC 6980 §5)", tamper(solicitation(), { 20: 44 }), "notIcmpv6"],
  ["a Router Solicitation", tamper(solicitation(), { 54: 133 }), "notNeighborDiscovery"],
  ["ICMPv6 of no octets", tamper(solicitation(), { 19: 0 }), "icmpLength"],
  ["ICMPv6 of 23 octets", tamper(solicitation(), { 19: 23 }), "icmpLength"],
  [
    "a solicitation for another's address",
    solicitation({ target: ipv6("2001:db8::99") }),
    "notAnnounced",
  ],
  [
    "a solicitation for an address of another interface",
    solicitation({ target: ipv6("2001:db8::102") }),
    "notOnThisInterface",
  ],
  ["our own solicitation come back", solicitation({ source: own }), "ownFrame"],
  [
    "our own advertisement through a proxy",
    advertisement({ options: [{ kind: "targetLinkLayerAddress", address: own }] }),
    "ownFrame",
  ],
  ["a solicitation with hop limit 254", tamper(solicitation(), { 21: 254 }), "hopLimit"],
  ["a solicitation with hop limit 64", tamper(solicitation(), { 21: 64 }), "hopLimit"],
  [
    "a solicitation with a wrong checksum",
    fromHex(toHex(solicitation()).replace(/..$/, "77")),
    "checksum",
  ],
  ["a solicitation with code 1", tamper(solicitation(), { 55: 1 }), "code"],
  [
    "a solicitation for a group, from an address of ours",
    solicitation({
      target: ipv6("ff02::1"),
      sourceAddress: ipv6("2001:db8::100"),
      destinationAddress: ALL_NODES,
    }),
    "targetMulticast",
  ],
  ["an option of length 0", tamper(solicitation(), { 79: 0 }), "option"],
  ["an option beyond the end", tamper(solicitation(), { 79: 2 }), "option"],
  ["a lone octet of an option", tamper(solicitation(), { 19: 25 }), "option"],
  [
    "a link-layer address of 14 octets",
    tamper(solicitation({ options: [{ kind: "other", type: 99, value: new Uint8Array(14) }] }), {
      78: 1,
    }),
    "option",
  ],
  [
    "a probe for duplicates to the address itself",
    solicitation({
      sourceAddress: ipv6("::"),
      options: [],
      destination: own,
      destinationAddress: ipv6("2001:db8::100"),
    }),
    "probeDestination",
  ],
  [
    "a probe for duplicates to all nodes",
    solicitation({ sourceAddress: ipv6("::"), options: [], destinationAddress: ALL_NODES }),
    "probeDestination",
  ],
  [
    "a probe for duplicates with a source link-layer address",
    solicitation({ sourceAddress: ipv6("::") }),
    "probeOption",
  ],
  [
    "a multicast advertisement that says it was solicited",
    advertisement({ solicited: true }),
    "solicitedMulticast",
  ],
  [
    "a solicitation for an address being probed",
    solicitation({ target: ipv6("2001:db8::101") }),
    "probing",
  ],
  ["a solicitation to another's MAC address", solicitation({ destination: intruder }), "notForUs"],
  [
    "a solicitation from a group",
    solicitation({ sourceAddress: ipv6("ff02::5") }),
    "sourceMulticast",
  ],
  [
    "a solicitation with a group as source link-layer address",
    solicitation({
      options: [{ kind: "sourceLinkLayerAddress", address: mac("33:33:00:00:00:01") }],
    }),
    "senderNotUnicast",
  ],
  [
    "a solicitation with zeros as source link-layer address",
    solicitation({ options: [{ kind: "sourceLinkLayerAddress", address: ZERO_MAC }] }),
    "senderNotUnicast",
  ],
  [
    "an advertisement by another of our speakers",
    advertisement({ options: [{ kind: "targetLinkLayerAddress", address: colleague }] }),
    "colleagueClaim",
  ],
  [
    "a probe for duplicates by another of our speakers for an address that we probe",
    solicitation({
      target: ipv6("2001:db8::101"),
      sourceAddress: ipv6("::"),
      options: [],
      source: colleague,
    }),
    "colleagueClaim",
  ],
];

test.each(drops)("drops %s", (_, frame, reason) => {
  expect(hear(frame)).toMatchObject({ outcome: "drop", reason });
});

test("drops a solicitation on an interface without link-local address", () => {
  const on: InterfaceFacts = { name: "eth0", mac: own };
  expect(hear(solicitation(), on)).toMatchObject({ outcome: "drop", reason: "noLinkLocal" });
  expect(hear(zeros, on)).toMatchObject({ outcome: "drop", reason: "noLinkLocal" });
});

test("a drop names the address concerned, and none for frames of others", () => {
  expect(hear(arp({ operation: 2 }))).toMatchObject({ announced: entryOf("10.9.0.100") });
  expect(hear(arp({ targetProtocolAddress: ipv4("10.9.0.99") }))).not.toHaveProperty("announced");
});

describe("reports a conflict, and does not answer,", () => {
  const claim = { source: intruder, senderHardwareAddress: intruder } as const;
  test.each([
    [
      "when another announces an address of ours by a request",
      arp({ ...claim, senderProtocolAddress: ipv4("10.9.0.100") }),
      "10.9.0.100",
      "claim",
    ],
    [
      "when another announces an address of ours by a reply",
      arp({ ...claim, operation: 2, senderProtocolAddress: ipv4("10.9.0.100") }),
      "10.9.0.100",
      "claim",
    ],
    [
      "when another uses an address of ours to ask for a third",
      arp({
        ...claim,
        senderProtocolAddress: ipv4("10.9.0.100"),
        targetProtocolAddress: ipv4("10.9.0.7"),
      }),
      "10.9.0.100",
      "claim",
    ],
    [
      "when another answers in unicast for an address of ours",
      arp({
        ...claim,
        operation: 2,
        destination: client,
        senderProtocolAddress: ipv4("10.9.0.100"),
      }),
      "10.9.0.100",
      "claim",
    ],
    [
      "when another has the address that we probe (RFC 5227 §2.1.1)",
      arp({
        ...claim,
        operation: 2,
        senderProtocolAddress: ipv4("10.9.0.101"),
        targetProtocolAddress: ipv4("0.0.0.0"),
      }),
      "10.9.0.101",
      "claim",
    ],
    [
      "when another probes the address that we probe (RFC 5227 §2.1.1)",
      arp({
        ...claim,
        senderProtocolAddress: ipv4("0.0.0.0"),
        targetProtocolAddress: ipv4("10.9.0.101"),
      }),
      "10.9.0.101",
      "probe",
    ],
    ["when another advertises an address of ours", advertisement(), "2001:db8::100", "claim"],
    [
      "when another advertises an address of ours without an option",
      advertisement({ options: [] }),
      "2001:db8::100",
      "claim",
    ],
    [
      "when another advertises another address from one of ours",
      advertisement({ target: ipv6("2001:db8::7"), sourceAddress: ipv6("2001:db8::100") }),
      "2001:db8::100",
      "claim",
    ],
    [
      "when another solicits from an address of ours",
      solicitation({
        source: intruder,
        sourceAddress: ipv6("2001:db8::100"),
        target: ipv6("2001:db8::7"),
        options: [],
      }),
      "2001:db8::100",
      "claim",
    ],
    [
      "when another has the address that we probe (RFC 4862 §5.4.4)",
      advertisement({ target: ipv6("2001:db8::101") }),
      "2001:db8::101",
      "claim",
    ],
    [
      "when another probes the address that we probe (RFC 4862 §5.4.3)",
      solicitation({
        source: intruder,
        target: ipv6("2001:db8::101"),
        sourceAddress: ipv6("::"),
        options: [],
      }),
      "2001:db8::101",
      "probe",
    ],
  ])("%s", (_, frame, text, seen) => {
    const expected = { outcome: "conflict", announced: entryOf(text), mac: intruder, seen };
    expect(hear(frame)).toEqual(expected);
  });
});
