import { describe, expect, test } from "@jest/globals";
import type { Decoded, DecodeReason } from "../../packet/wire/decode.ts";
import { fromHex } from "./hex.ts";

/** A decoder, its inverse, and what they are to be held to. */
export interface CodecCase<T> {
  readonly decode: (octets: Uint8Array) => Decoded<T>;
  readonly encode: (value: T) => Uint8Array;
  /** Octets in hexadecimal and the one value that they mean, both ways. */
  readonly golden: readonly { readonly name: string; readonly hex: string; readonly value: T }[];
  /** Octets that are refused, and why. */
  readonly bad: readonly {
    readonly name: string;
    readonly hex: string;
    readonly reason: DecodeReason;
  }[];
  /** The form has no length of its own: prefixes may decode, but never to the same value. */
  readonly endsWithOctets?: boolean;
}

/** Registers the tests that every codec passes. */
export function describeCodec<T>(name: string, codec: CodecCase<T>): void {
  describe(name, () => {
    for (const row of codec.golden) goldenTests(codec, row.name, fromHex(row.hex), row.value);
    for (const { name: row, hex, reason } of codec.bad) {
      test(`refuses ${row}`, () => {
        expect(codec.decode(fromHex(hex))).toEqual({ ok: false, reason });
        expect(codec.decode(embed(fromHex(hex)))).toEqual({ ok: false, reason });
      });
    }
  });
}

function goldenTests<T>(codec: CodecCase<T>, name: string, octets: Uint8Array, value: T): void {
  test(`decodes ${name}`, () => {
    expect(codec.decode(octets)).toEqual({ ok: true, value });
  });
  test(`encodes ${name}`, () => {
    expect(new Uint8Array(codec.encode(value))).toEqual(octets);
  });
  test(`decodes ${name} inside larger, dirty octets`, () => {
    expect(codec.decode(embed(octets))).toEqual({ ok: true, value });
  });
  test(`refuses every shorter prefix of ${name}`, () => {
    for (let length = 0; length < octets.length; length++) {
      const decoded = codec.decode(octets.subarray(0, length));
      if (codec.endsWithOctets === true) expect(decoded).not.toEqual({ ok: true, value });
      else expect({ length, ...decoded }).toEqual({ length, ok: false, reason: "truncated" });
    }
  });
}

/** The same octets at an offset in others that are not zero: finds a forgotten `byteOffset`. */
export function embed(octets: Uint8Array): Uint8Array {
  const larger = new Uint8Array(octets.length + 23).fill(0xa5);
  larger.set(octets, 11);
  return larger.subarray(11, 11 + octets.length);
}
