#ifndef NETLINK_SOCKET_H
#define NETLINK_SOCKET_H

#include "owner.h"

bool define_netlink_socket(napi_env env, napi_value exports);

#endif
