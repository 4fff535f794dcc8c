/** The host's interfaces as the kernel's files under /sys and Node's address list show them. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { basename, join } from "node:path";

import { addressToBigInt, familyOf, parseAddress } from "../address/address.ts";
import { parseMac } from "../address/mac.ts";
import { maskNumber } from "../address/prefix.ts";
import type { InterfaceAddress, InterfaceFacts } from "./interface-facts.ts";
import { INTERFACE_FLAG } from "./netlink.ts";

const FOLDER = "/sys/class/net";
const ARPHRD_ETHER = 1;

/** Reads all interfaces. One that vanishes while it is read is left out. */
export function readInterfaces(folder = FOLDER): InterfaceFacts[] {
  const addresses = networkInterfaces();
  return readdirSync(folder)
    .flatMap(
      (name) => readInterface(folder, name, (addresses[name] ?? []).flatMap(addressOf)) ?? [],
    )
    .sort((a, b) => a.index - b.index);
}

function readInterface(
  folder: string,
  name: string,
  addresses: readonly InterfaceAddress[],
): InterfaceFacts | null {
  const read = (file: string): string => readFile(join(folder, name, file));
  const index = Number(read("ifindex"));
  if (!(index > 0)) return null;
  const flags = Number(read("flags"));
  const mac = parseMac(read("address"));
  return {
    index,
    name,
    macAddress: mac.ok ? mac.value : null,
    mtu: Number(read("mtu")),
    up: (flags & INTERFACE_FLAG.up) !== 0,
    // Reading it of an interface that is down is refused: no carrier then.
    carrier: read("carrier") === "1",
    loopback: (flags & INTERFACE_FLAG.loopback) !== 0,
    noArp: (flags & INTERFACE_FLAG.noArp) !== 0,
    ethernet: Number(read("type")) === ARPHRD_ETHER,
    master: masterOf(folder, name),
    addresses,
  };
}

/** The trimmed text of a file, "" when it is not there or refuses to be read. */
function readFile(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    // ENOENT, ENODEV: the interface vanished; EINVAL: the value is not to be had.
    return "";
  }
}

function masterOf(folder: string, name: string): InterfaceFacts["master"] {
  let master;
  try {
    master = basename(readlinkSync(join(folder, name, "master")));
  } catch {
    // No such link: no master.
    return null;
  }
  const kind = /^DEVTYPE=(.*)$/m.exec(readFile(join(folder, master, "uevent")))?.[1];
  return { name: master, kind: kind ?? "" };
}

function addressOf({ cidr }: { readonly cidr: string | null }): InterfaceAddress[] {
  const [text = "", length = ""] = (cidr ?? "").split("/");
  const parsed = parseAddress(text);
  if (!parsed.ok) return [];
  const address = parsed.value;
  const family = familyOf(address);
  const network = maskNumber(addressToBigInt(address), Number(length), family);
  return [{ address, subnet: { family, network, length: Number(length) } }];
}
