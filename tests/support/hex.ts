import { readFileSync } from "node:fs";

/**
 * Reads octets from hexadecimal text. White space is ignored, and `#` starts a comment to the end
 * of the line, so that captured frames can say where they come from.
 */
export function fromHex(text: string): Uint8Array<ArrayBuffer> {
  const digits = text.replaceAll(/#.*$/gm, "").replaceAll(/\s/g, "");
  if (!/^([0-9a-f]{2})*$/i.test(digits)) throw new TypeError(`no hexadecimal octets: ${text}`);
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** Writes octets as hexadecimal text, without separators. */
export function toHex(octets: Uint8Array): string {
  return Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join("");
}

/** Reads the captured frame `tests/golden/NAME.hex`. */
export function golden(name: string): Uint8Array<ArrayBuffer> {
  return fromHex(readFileSync(new URL(`../golden/${name}.hex`, import.meta.url), "utf8"));
}
