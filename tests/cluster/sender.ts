/** Sends datagrams, a line of hex digits each on standard input, to `ADDRESS PORT`. */
import { createSocket } from "node:dgram";
import { createInterface } from "node:readline";

const [address = "", port = ""] = process.argv.slice(2);
const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
for await (const line of createInterface(process.stdin)) {
  const datagram = Buffer.from(line, "hex");
  await new Promise<void>((resolve, reject) => {
    socket.send(datagram, Number(port), address, (error) => (error ? reject(error) : resolve()));
  });
}
socket.close();
