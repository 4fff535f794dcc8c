/**
 * Listens for advertisements of virtual routers on one interface. For the main thread only (see
 * `raw-socket.ts`). It joins the routers' group, or the interface would not let them in.
 */
import { encodeIPv4 } from "../address/ipv4.ts";
import {
  explainRaw,
  RAW_FAMILY,
  rawSocketModule,
  type RawSocket,
  type RawSocketModule,
} from "./raw-socket.ts";
import { decodeVrrp, VRRP_GROUP, VRRP_PROTOCOL, type VrrpAdvertisement } from "./vrrp.ts";

const SOL_SOCKET = 1;
const SO_BINDTODEVICE = 25;
const IPPROTO_IP = 0;
const IP_ADD_MEMBERSHIP = 35;

/** Hears virtual routers until it is disposed. */
export class VrrpEar implements Disposable {
  readonly #socket: RawSocket;

  /**
   * Begins to listen.
   * @param index the kernel's number of the interface
   * @param heard told each advertisement
   * @throws LinkError `PermissionDenied` or `NoSuchInterface` when no socket can be opened
   */
  constructor(
    interfaceName: string,
    index: number,
    heard: (advertisement: VrrpAdvertisement) => void,
    raw: RawSocketModule = rawSocketModule(),
  ) {
    let socket: RawSocket | undefined;
    try {
      socket = raw.createSocket({ protocol: VRRP_PROTOCOL, addressFamily: RAW_FAMILY.ipv4 });
      const device = Buffer.from(`${interfaceName}\0`);
      socket.setOption(SOL_SOCKET, SO_BINDTODEVICE, device, device.length);
      // struct ip_mreqn: group, any address of ours, number of the interface
      const number = Buffer.from(Int32Array.of(index).buffer);
      const request = Buffer.concat([encodeIPv4(VRRP_GROUP), Buffer.alloc(4), number]);
      socket.setOption(IPPROTO_IP, IP_ADD_MEMBERSHIP, request, request.length);
    } catch (cause) {
      socket?.close();
      throw explainRaw(`listening for VRRP on interface ${interfaceName}`, cause);
    }
    socket.on("message", (octets) => {
      const advertisement = decodeVrrp(octets);
      if (advertisement !== null) heard(advertisement);
    });
    // The package closes a socket that failed; what was heard until then is forgotten in time.
    socket.on("error", () => undefined);
    this.#socket = socket;
  }

  /** Stops listening. */
  [Symbol.dispose](): void {
    this.#socket.close();
  }
}
