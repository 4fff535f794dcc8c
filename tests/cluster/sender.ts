/**
 * Sends datagrams, a line of hex digits each on standard input, to `ADDRESS PORT`; at a pace at which
 * a receiver that shares the machine loses none for want of a buffer.
 */
import { createSocket } from "node:dgram";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";

const AT_ONCE = 32;
const PAUSE_MS = 5;

const [address = "", port = ""] = process.argv.slice(2);
const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
let sent = 0;
for await (const line of createInterface(process.stdin)) {
  const datagram = Buffer.from(line, "hex");
  await new Promise<void>((resolve, reject) => {
    socket.send(datagram, Number(port), address, (error) => (error ? reject(error) : resolve()));
  });
  if (++sent % AT_ONCE === 0) await delay(PAUSE_MS);
}
socket.close();
