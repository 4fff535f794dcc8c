#ifndef PACKET_SOCKET_H
#define PACKET_SOCKET_H

#include "owner.h"

bool define_packet_socket(napi_env env, napi_value exports);

#endif
