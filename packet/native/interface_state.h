#ifndef INTERFACE_STATE_H
#define INTERFACE_STATE_H

#include "owner.h"

bool define_interface_state(napi_env env, napi_value exports);

#endif
