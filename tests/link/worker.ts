/** A worker that opens a link, echoes what comes in, and ends as its parent chooses. */
import { parentPort } from "node:worker_threads";

import { afPacketLink } from "../../packet/link/af-packet.ts";
import { nativeModule } from "../../packet/link/native.ts";

const link = afPacketLink({ interfaceName: "eth0" })({
  frame: ({ octets }) => link.send(octets),
});
const netlink = new (nativeModule().NetlinkSocket)({
  groups: 1,
  size: 65_536,
  onMessages: () => undefined,
  onError: () => undefined,
});
parentPort?.on("message", (word: "close" | "throw") => {
  if (word === "throw") throw new Error("asked to throw");
  link[Symbol.dispose]();
  netlink.close();
  parentPort?.close();
});
parentPort?.postMessage("ready");
