/*
 * The native module: packet sockets, a routing netlink socket, and a look at one interface.
 * Node-API only, so one binary serves every Node version; context-aware, so every worker thread may
 * load it. It keeps no state of its own outside its objects.
 */
#include "interface_state.h"
#include "netlink_socket.h"
#include "packet_socket.h"

NAPI_MODULE_INIT() {
  if (!define_packet_socket(env, exports)) return NULL;
  if (!define_netlink_socket(env, exports)) return NULL;
  if (!define_interface_state(env, exports)) return NULL;
  return exports;
}
