/** Advertises virtual router 51 on eth0 a few times, as keepalived would (RFC 5798 §5). */
import { RAW_FAMILY, rawSocketModule } from "../../packet/link/raw-socket.ts";
import { VRRP_GROUP, VRRP_PROTOCOL } from "../../packet/link/vrrp.ts";

const IPPROTO_IP = 0;
const IP_MULTICAST_TTL = 33;
const SOL_SOCKET = 1;
const SO_BINDTODEVICE = 25;
/** Version 3, id 51, priority 100, one address: 198.51.100.1. The checksum is nobody's concern here. */
const ADVERTISEMENT = Buffer.from("3133640100640000c6336401", "hex");

const socket = rawSocketModule().createSocket({
  protocol: VRRP_PROTOCOL,
  addressFamily: RAW_FAMILY.ipv4,
});
const device = Buffer.from("eth0\0");
socket.setOption(SOL_SOCKET, SO_BINDTODEVICE, device, device.length);
const ttl = Buffer.from(Int32Array.of(255).buffer);
socket.setOption(IPPROTO_IP, IP_MULTICAST_TTL, ttl, ttl.length);
for (let i = 0; i < 3; i++) {
  await new Promise<void>((resolve, reject) => {
    socket.send(ADVERTISEMENT, 0, ADVERTISEMENT.length, VRRP_GROUP, (error) =>
      error === null ? resolve() : reject(error),
    );
  });
}
socket.close();
