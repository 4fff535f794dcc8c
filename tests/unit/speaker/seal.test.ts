import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { inspect } from "node:util";
import { idOfName } from "../../../speaker/membership.ts";
import { makeKey, Seal, SEAL_OVERHEAD } from "../../../speaker/seal.ts";

const SECRET = new Uint8Array(32).fill(7);
const key = makeKey(SECRET);
const newer = makeKey(new Uint8Array(32).fill(8));
const life = "0123456789abcdef".repeat(2);
const otherLife = "fedcba9876543210".repeat(2);
const payload = Uint8Array.from(Buffer.from("beat"));

const alpha = () => new Seal("cluster", "alpha", life, [key]);
const beta = () => new Seal("cluster", "beta", otherLife, [key]);

function sealed(from = alpha()): Uint8Array {
  const datagram = from.seal(payload, "beta", []);
  if (datagram === undefined) throw new Error("no key in common");
  return datagram;
}

test("what is sealed for a node opens there, with its sender, life and counter", () => {
  const from = alpha();
  sealed(from);
  expect(beta().open(sealed(from))).toEqual({
    ok: true,
    value: { sender: { id: idOfName("alpha"), life }, counter: 1, keyId: key.id, payload },
  });
});

test("a full packet stays within 1,200 octets", () => {
  const datagram = alpha().seal(new Uint8Array(1144), "beta", []);
  expect(datagram?.length).toBe(1200);
});

test("no payload shows in its datagram, and equal ones differ", () => {
  const from = alpha();
  const [first, second] = [sealed(from), sealed(from)];
  expect(Buffer.from(first).includes("beat")).toBe(false);
  expect(first.subarray(SEAL_OVERHEAD - 16)).not.toEqual(second.subarray(SEAL_OVERHEAD - 16));
});

for (const { name, seal } of [
  { name: "a datagram for another node", seal: new Seal("cluster", "gamma", otherLife, [key]) },
  {
    name: "a datagram of another cluster with the same secret",
    seal: new Seal("other", "beta", otherLife, [key]),
  },
]) {
  test(`${name} has a bad tag`, () => {
    expect(seal.open(sealed())).toEqual({ ok: false, reason: "bad-tag" });
  });
}

test("a datagram under a key that is not held is unknown, not bad", () => {
  const stranger = new Seal("cluster", "beta", otherLife, [newer]);
  expect(stranger.open(sealed())).toEqual({ ok: false, reason: "unknown-key" });
});

test("any changed octet is refused", () => {
  const datagram = sealed();
  for (let i = 0; i < datagram.length; i++) {
    const changed = Uint8Array.from(datagram);
    changed[i] = (changed[i] ?? 0) ^ 1;
    expect(beta().open(changed).ok).toBe(false);
  }
});

test("every shorter prefix is refused", () => {
  const datagram = sealed();
  for (let length = 0; length < datagram.length; length++) {
    expect(beta().open(datagram.subarray(0, length)).ok).toBe(false);
  }
});

test("random octets are refused and never throw", () => {
  const seal = beta();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (octets) => {
      expect(seal.open(octets).ok).toBe(false);
    }),
    { numRuns: 1000 },
  );
});

test("while keys are replaced, the newest that the receiver accepts is taken", () => {
  const from = new Seal("cluster", "alpha", life, [key, newer]);
  const to = new Seal("cluster", "beta", otherLife, [key, newer]);
  const keyIdOf = (accepted: readonly number[]) => {
    const datagram = from.seal(payload, "beta", accepted);
    const opened = datagram === undefined ? undefined : to.open(datagram);
    return opened?.ok === true ? opened.value.keyId : undefined;
  };
  expect(keyIdOf([])).toBe(key.id);
  expect(keyIdOf([key.id])).toBe(key.id);
  expect(keyIdOf([key.id, newer.id])).toBe(newer.id);
  expect(keyIdOf([newer.id])).toBe(newer.id);
  expect(keyIdOf([12345])).toBeUndefined();
});

test("a key that was taken away opens nothing any more", () => {
  const to = new Seal("cluster", "beta", otherLife, [key, newer]);
  to.rekey([newer]);
  expect(to.open(sealed())).toEqual({ ok: false, reason: "unknown-key" });
  expect(to.keyIds).toEqual([newer.id]);
});

test("a secret is not to be seen in what a key or a seal prints as", () => {
  const printed = inspect([key, alpha()], { depth: 9, showHidden: true }) + JSON.stringify(key);
  expect(printed).not.toContain(Buffer.from(SECRET).toString("hex"));
  expect(printed).not.toContain(SECRET.join(","));
  expect(printed).not.toContain(Buffer.from(SECRET).toString("base64"));
});

test("a short secret is refused without being told", () => {
  expect(() => makeKey(Uint8Array.from(Buffer.from("hunter2")))).toThrow(/7 octets is too short/);
  expect(() => makeKey(Uint8Array.from(Buffer.from("hunter2")))).not.toThrow(/hunter/);
});
