/*
 * NetlinkSocket({ groups, size, onMessages(length), onError(code) }): a NETLINK_ROUTE socket that is
 * a member of the multicast groups in the bit mask `groups`. Datagrams land in `octets`, to be read
 * before onMessages returns; what they say is read in TypeScript. onError("ENOBUFS") says that
 * notifications were lost. send(octets) sends a request; close() closes.
 */
#include "netlink_socket.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Datagrams read before the loop gets its turn again. */
#define ROUNDS 32

typedef struct {
  owner base; /* first: an owner* is a netlink_socket* */
  uv_poll_t poll;
  int fd;
  uint32_t size;
  uint8_t* octets;
  napi_ref memory, on_messages, on_error;
} netlink_socket;

static void free_netlink_socket(owner* o) { free(o); }

static void on_handle_closed(uv_handle_t* handle) { owner_handle_closed(handle->data); }

static void close_netlink_socket(owner* o) {
  netlink_socket* s = (netlink_socket*)o;
  if (s->base.handles > 0) {
    uv_poll_stop(&s->poll);
    uv_close((uv_handle_t*)&s->poll, on_handle_closed);
  }
  if (s->fd >= 0) close(s->fd);
  s->fd = -1;
  if (s->memory != NULL) napi_delete_reference(o->env, s->memory);
  if (s->on_messages != NULL) napi_delete_reference(o->env, s->on_messages);
  if (s->on_error != NULL) napi_delete_reference(o->env, s->on_error);
}

static void report_messages(netlink_socket* s, size_t length) {
  napi_value argument;
  if (napi_create_uint32(s->base.env, (uint32_t)length, &argument) == napi_ok) {
    owner_call(&s->base, s->on_messages, 1, &argument);
  }
}

static void report_error(netlink_socket* s, int error) {
  char name[32];
  napi_value argument;
  uv_err_name_r(-error, name, sizeof name);
  if (napi_create_string_utf8(s->base.env, name, NAPI_AUTO_LENGTH, &argument) == napi_ok) {
    owner_call(&s->base, s->on_error, 1, &argument);
  }
}

/* One datagram. False when there is no more. */
static bool receive_one(netlink_socket* s) {
  struct sockaddr_nl from;
  socklen_t from_length = sizeof from;
  ssize_t length =
      recvfrom(s->fd, s->octets, s->size, MSG_TRUNC, (struct sockaddr*)&from, &from_length);
  if (length < 0) {
    if (errno == EAGAIN) return false;
    if (errno != EINTR) report_error(s, errno);
    return true;
  }
  /* Any process may send to any netlink socket: only what the kernel says is believed. */
  if (from.nl_pid != 0) return true;
  if ((size_t)length > s->size) report_error(s, EMSGSIZE);
  else report_messages(s, (size_t)length);
  return true;
}

static void on_readable(uv_poll_t* poll, int status, int events) {
  (void)events;
  netlink_socket* s = poll->data;
  napi_handle_scope scope;
  /* libuv stops watching a descriptor with a pending error: receive_one reads it, then go on. */
  if (status < 0) uv_poll_start(poll, UV_READABLE, on_readable);
  for (int round = 0; round < ROUNDS && !s->base.closed; round++) {
    if (napi_open_handle_scope(s->base.env, &scope) != napi_ok) return;
    bool more = receive_one(s);
    napi_close_handle_scope(s->base.env, scope);
    if (!more) return;
  }
}

static bool open_socket(netlink_socket* s, uint32_t groups) {
  napi_env env = s->base.env;
  uv_loop_t* loop;
  struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
  s->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (s->fd < 0) {
    throw_errno(env, errno, "socket");
    return false;
  }
  if (bind(s->fd, (struct sockaddr*)&address, sizeof address) != 0) {
    throw_errno(env, errno, "bind");
    return false;
  }
  int error = napi_get_uv_event_loop(env, &loop) == napi_ok ? 0 : UV_EINVAL;
  if (error == 0) error = uv_poll_init(loop, &s->poll, s->fd);
  if (error != 0) {
    throw_errno(env, error, "uv_poll_init");
    return false;
  }
  s->poll.data = s;
  s->base.handles = 1;
  uv_poll_start(&s->poll, UV_READABLE, on_readable);
  return true;
}

static bool read_options(netlink_socket* s, napi_value self, napi_value options, uint32_t* groups) {
  napi_env env = s->base.env;
  napi_value memory;
  return get_uint32(env, options, "groups", groups) && get_uint32(env, options, "size", &s->size) &&
         get_function(env, options, "onMessages", &s->on_messages) &&
         get_function(env, options, "onError", &s->on_error) &&
         share_array(env, self, "octets", napi_uint8_array, s->size, 1, (void**)&s->octets) &&
         napi_get_named_property(env, self, "octets", &memory) == napi_ok &&
         napi_create_reference(env, memory, 1, &s->memory) == napi_ok;
}

static napi_value construct(napi_env env, napi_callback_info info) {
  napi_value self, options;
  size_t count = 1;
  uint32_t groups;
  if (napi_get_cb_info(env, info, &count, &options, &self, NULL) != napi_ok) return NULL;
  netlink_socket* s = calloc(1, sizeof *s);
  if (s == NULL) {
    throw_errno(env, ENOMEM, "calloc");
    return NULL;
  }
  s->fd = -1;
  s->base.close = close_netlink_socket;
  s->base.free = free_netlink_socket;
  if (!owner_init(&s->base, env, self, "NetlinkSocket")) {
    free(s);
    return NULL;
  }
  if (!read_options(s, self, options, &groups) || !open_socket(s, groups)) {
    throw_type(env, "options: no memory");
    owner_close(&s->base);
    return NULL;
  }
  return self;
}

static napi_value send_request(napi_env env, napi_callback_info info) {
  napi_value argument;
  uint8_t* octets;
  size_t length;
  netlink_socket* s = owner_arguments(env, info, 1, &argument);
  if (s == NULL || !get_octets(env, argument, "octets", &octets, &length)) return NULL;
  struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  if (sendto(s->fd, octets, length, 0, (struct sockaddr*)&kernel, sizeof kernel) < 0) {
    throw_errno(env, errno, "sendto");
  }
  return NULL;
}

static napi_value close_method(napi_env env, napi_callback_info info) {
  napi_value self;
  void* o;
  if (napi_get_cb_info(env, info, NULL, NULL, &self, NULL) == napi_ok &&
      napi_unwrap(env, self, &o) == napi_ok) {
    owner_close(o);
  }
  return NULL;
}

bool define_netlink_socket(napi_env env, napi_value exports) {
  napi_property_descriptor methods[] = {
      {.utf8name = "send", .method = send_request, .attributes = napi_default_method},
      {.utf8name = "close", .method = close_method, .attributes = napi_default_method},
  };
  napi_value class;
  return napi_define_class(env, "NetlinkSocket", NAPI_AUTO_LENGTH, construct, NULL,
                           COUNT_OF(methods), methods, &class) == napi_ok &&
         napi_set_named_property(env, exports, "NetlinkSocket", class) == napi_ok;
}
