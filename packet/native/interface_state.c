/* interfaceState(name): index, flags, hardware address and MTU of one interface, as the kernel has it now. */
#include "interface_state.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define HARDWARE_ADDRESS_LENGTH 6

typedef struct {
  int index;
  unsigned flags;
  unsigned hardware_type;
  int mtu;
  uint8_t hardware_address[HARDWARE_ADDRESS_LENGTH];
} state;

/* 0 or the error number; `name` is shorter than IFNAMSIZ. Any socket answers these requests; a local one needs no capability. */
static int read_state(const char* name, state* s) {
  struct ifreq request = {0};
  memcpy(request.ifr_name, name, strlen(name) + 1);
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  int error = 0;
  if (ioctl(fd, SIOCGIFINDEX, &request) != 0) goto failed;
  s->index = request.ifr_ifindex;
  if (ioctl(fd, SIOCGIFFLAGS, &request) != 0) goto failed;
  s->flags = (unsigned short)request.ifr_flags;
  if (ioctl(fd, SIOCGIFMTU, &request) != 0) goto failed;
  s->mtu = request.ifr_mtu;
  if (ioctl(fd, SIOCGIFHWADDR, &request) != 0) goto failed;
  s->hardware_type = request.ifr_hwaddr.sa_family;
  memcpy(s->hardware_address, request.ifr_hwaddr.sa_data, HARDWARE_ADDRESS_LENGTH);
  goto done;
failed:
  error = errno;
done:
  close(fd);
  return error;
}

static void set_number(napi_env env, napi_value object, const char* name, double number) {
  napi_value value;
  if (napi_create_double(env, number, &value) == napi_ok) {
    napi_set_named_property(env, object, name, value);
  }
}

static napi_value interface_state(napi_env env, napi_callback_info info) {
  napi_value argument, result;
  size_t count = 1, length;
  char name[IFNAMSIZ + 1];
  if (napi_get_cb_info(env, info, &count, &argument, NULL, NULL) != napi_ok || count != 1 ||
      napi_get_value_string_utf8(env, argument, name, sizeof name, &length) != napi_ok) {
    throw_type(env, "name: expected a string");
    return NULL;
  }
  /* The kernel's limit includes the final zero: a longer name is that of no interface. */
  state s = {0};
  int error = length == 0 || length >= IFNAMSIZ ? ENODEV : read_state(name, &s);
  if (error != 0) {
    throw_errno(env, error, "ioctl");
    return NULL;
  }
  void* octets;
  if (napi_create_object(env, &result) != napi_ok ||
      !share_array(env, result, "hardwareAddress", napi_uint8_array, HARDWARE_ADDRESS_LENGTH, 1,
                   &octets)) {
    throw_type(env, "no memory for the result");
    return NULL;
  }
  memcpy(octets, s.hardware_address, HARDWARE_ADDRESS_LENGTH);
  set_number(env, result, "index", s.index);
  set_number(env, result, "flags", s.flags);
  set_number(env, result, "hardwareType", s.hardware_type);
  set_number(env, result, "mtu", s.mtu);
  return result;
}

bool define_interface_state(napi_env env, napi_value exports) {
  napi_value function;
  return napi_create_function(env, "interfaceState", NAPI_AUTO_LENGTH, interface_state, NULL,
                              &function) == napi_ok &&
         napi_set_named_property(env, exports, "interfaceState", function) == napi_ok;
}
