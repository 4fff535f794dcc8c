/*
 * PacketSocket: Ethernet frames of one interface, in and out, in batches.
 *
 *   new PacketSocket({ interfaceIndex, protocols, filters, slots, slotSize, receiveBuffer,
 *                      onBatch(count), onError(code) })
 *
 * - A receiving socket for each element of `protocols`, an EtherType, and one that only sends. A
 *   socket bound to its EtherType is not handed the host's own frames and costs other traffic nothing;
 *   one bound to ETH_P_ALL would be handed a copy of every frame of the host.
 * - Each has the filter of the same place in `filters` (octets of `struct sock_filter`, fields in
 *   little-endian order), attached before the socket is bound: nothing that it refuses is ever queued.
 *   An EtherType that is named more than once has so many programs; a frame comes once for each that
 *   accepts it.
 * - A batch of at most `slots` frames lands in `octets`, frame i at i * slotSize; `lengths[i]` is the
 *   length on the wire (more than slotSize: the frame was cut off); `types[i]` the kernel's packet
 *   type; `seconds[i]`, `nanoseconds[i]` the kernel's time stamp. All of it is void once onBatch
 *   returns. Of a frame with a VLAN tag the kernel has taken out the tag, and says only by the packet
 *   type PACKET_OTHERHOST that it is not for this interface.
 * - Frames to send lie in `sendOctets` in the same way, `sendLengths[i]` long: flush(count).
 *   It returns how many the kernel took; `status[0]` is the error number of the last that it refused.
 * - An interface that goes down or vanishes is onError("ENETDOWN"). Coming back up, the same
 *   interface goes on by itself; one that vanished needs a new PacketSocket.
 */
#define _GNU_SOURCE /* recvmmsg, sendmmsg */
#include "packet_socket.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_RECEIVERS 64
#define MAX_SLOTS 1024
#define MAX_SLOT_SIZE 65536
/* Batches read before the loop gets its turn again: its timers must not wait for a flood to end. */
#define ROUNDS 4
#define ETHERTYPE_OFFSET 12

typedef union {
  char octets[CMSG_SPACE(sizeof(struct timespec))];
  struct cmsghdr align;
} control;

typedef struct packet_socket packet_socket;

typedef struct receiver {
  uv_poll_t poll;
  packet_socket* owner;
  int fd;
  uint16_t protocol;
  bool retiring; /* replaced: reads what is queued, then closes */
  struct receiver* next;
} receiver;

struct packet_socket {
  owner base; /* first: an owner* is a packet_socket* */
  uint32_t interface_index, slots, slot_size, receive_buffer;
  int transmit_fd;
  receiver* receivers;
  napi_ref memory, on_batch, on_error;
  /* Shared with JavaScript; kept alive by `memory`. */
  uint8_t *octets, *types, *send_octets;
  uint32_t *lengths, *nanoseconds, *send_lengths;
  double* seconds;
  int32_t* status;
  /* Ours alone; for the kernel. */
  struct mmsghdr *in, *out;
  struct iovec *in_vectors, *out_vectors;
  struct sockaddr_ll *from, *to;
  control* controls;
  uint64_t received, dropped;
};

typedef struct {
  struct sock_filter* instructions;
  struct sock_fprog program;
} filter;

/* ---- filter ---- */

/* Copies a filter out of JavaScript's memory. False with a pending exception. */
static bool read_filter(napi_env env, napi_value value, filter* f) {
  uint8_t* octets;
  size_t length;
  if (!get_octets(env, value, "filter", &octets, &length)) return false;
  size_t count = length / sizeof(struct sock_filter);
  if (length % sizeof(struct sock_filter) != 0 || count == 0 || count > BPF_MAXINSNS) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "filter: expected 1 to 4096 instructions of 8 octets");
    return false;
  }
  f->instructions = malloc(length);
  if (f->instructions == NULL) {
    throw_errno(env, ENOMEM, "malloc");
    return false;
  }
  memcpy(f->instructions, octets, length);
  for (size_t i = 0; i < count; i++) {
    f->instructions[i].code = le16toh(f->instructions[i].code);
    f->instructions[i].k = le32toh(f->instructions[i].k);
  }
  f->program.len = (unsigned short)count;
  f->program.filter = f->instructions;
  return true;
}

static int attach(int fd, const struct sock_fprog* program) {
  return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, program, sizeof *program) == 0 ? 0 : errno;
}

/* ---- receiving ---- */

static void report_error(packet_socket* s, int error) {
  char name[32];
  napi_value argument;
  uv_err_name_r(-error, name, sizeof name);
  if (napi_create_string_utf8(s->base.env, name, NAPI_AUTO_LENGTH, &argument) == napi_ok) {
    owner_call(&s->base, s->on_error, 1, &argument);
  }
}

static void prepare_slots(packet_socket* s, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    struct msghdr* header = &s->in[i].msg_hdr;
    header->msg_namelen = sizeof s->from[i];
    header->msg_controllen = sizeof s->controls[i].octets;
  }
}

/* Spreads what the kernel said of frame i over the shared arrays. */
static void describe(packet_socket* s, unsigned i) {
  s->lengths[i] = s->in[i].msg_len;
  /* The kernel shows a frame of a VLAN interface, its tag taken off, to the parent's sockets too. */
  bool ours = s->from[i].sll_ifindex == (int)s->interface_index;
  s->types[i] = ours ? s->from[i].sll_pkttype : PACKET_OTHERHOST;
  s->seconds[i] = 0;
  s->nanoseconds[i] = 0;
  struct msghdr* header = &s->in[i].msg_hdr;
  for (struct cmsghdr* c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
      struct timespec at;
      memcpy(&at, CMSG_DATA(c), sizeof at);
      s->seconds[i] = (double)at.tv_sec;
      s->nanoseconds[i] = (uint32_t)at.tv_nsec;
    }
  }
}

/* One batch: the number of frames, 0 when there is none, or a negative error number. */
static int receive_batch(receiver* r) {
  packet_socket* s = r->owner;
  int count = recvmmsg(r->fd, s->in, s->slots, MSG_DONTWAIT | MSG_TRUNC, NULL);
  if (count < 0) return errno == EAGAIN || errno == EINTR ? 0 : -errno;
  for (int i = 0; i < count; i++) describe(s, (unsigned)i);
  prepare_slots(s, (unsigned)count);
  return count;
}

static void report_batch(packet_socket* s, int count) {
  napi_value argument;
  if (napi_create_int32(s->base.env, count, &argument) == napi_ok) {
    owner_call(&s->base, s->on_batch, 1, &argument);
  }
}

static void close_receiver(receiver* r);

static void on_readable(uv_poll_t* poll, int status, int events);

static void watch(receiver* r) {
  /* A retiring socket is woken without a frame too, so that it ends: it is always writable. */
  uv_poll_start(&r->poll, UV_READABLE | (r->retiring ? UV_WRITABLE : 0), on_readable);
}

/* Reads up to ROUNDS batches. True when the socket holds no more. */
static bool drain(receiver* r) {
  packet_socket* s = r->owner;
  napi_handle_scope scope;
  for (int round = 0; round < ROUNDS && !s->base.closed; round++) {
    if (napi_open_handle_scope(s->base.env, &scope) != napi_ok) return true;
    int count = receive_batch(r);
    if (count > 0) report_batch(s, count);
    else if (count < 0 && !r->retiring) report_error(s, -count);
    napi_close_handle_scope(s->base.env, scope);
    if (count >= 0 && count < (int)s->slots) return true;
  }
  return false;
}

static void on_readable(uv_poll_t* poll, int status, int events) {
  (void)events;
  receiver* r = poll->data;
  packet_socket* s = r->owner;
  /* libuv stops watching a descriptor with a pending error: drain reads the error, then go on. */
  if (status < 0) watch(r);
  bool empty = drain(r);
  if (empty && r->retiring && !s->base.closed) close_receiver(r);
}

/* ---- opening and closing ---- */

/* Adds the kernel's counters, which start anew at each reading, to ours. */
static void count_statistics(receiver* r) {
  struct tpacket_stats stats;
  socklen_t length = sizeof stats;
  if (getsockopt(r->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &length) != 0) return;
  r->owner->received += stats.tp_packets;
  r->owner->dropped += stats.tp_drops;
}

/*
 * Closing a packet socket takes the kernel some ten milliseconds: it waits until no processor looks at
 * the socket any more. No reply has to wait for that, so another thread closes it.
 */
typedef struct {
  uv_work_t work;
  owner* owner;
  int fd;
} closing;

static void close_elsewhere(uv_work_t* work) { close(((closing*)work->data)->fd); }

static void on_closed_elsewhere(uv_work_t* work, int status) {
  closing* c = work->data;
  owner* o = c->owner;
  if (status != 0) close(c->fd); /* cancelled */
  free(c);
  owner_handle_closed(o);
}

static void close_descriptor(owner* o, int fd) {
  uv_loop_t* loop;
  closing* c = calloc(1, sizeof *c);
  if (c != NULL && napi_get_uv_event_loop(o->env, &loop) == napi_ok) {
    *c = (closing){.work.data = c, .owner = o, .fd = fd};
    if (uv_queue_work(loop, &c->work, close_elsewhere, on_closed_elsewhere) == 0) {
      o->handles++;
      return;
    }
  }
  free(c);
  close(fd);
}

static void on_handle_closed(uv_handle_t* handle) {
  receiver* r = handle->data;
  owner* o = &r->owner->base;
  free(r);
  owner_handle_closed(o);
}

static void close_receiver(receiver* r) {
  receiver** link = &r->owner->receivers;
  while (*link != r) link = &(*link)->next;
  *link = r->next;
  count_statistics(r);
  uv_poll_stop(&r->poll);
  uv_close((uv_handle_t*)&r->poll, on_handle_closed);
  close_descriptor(&r->owner->base, r->fd);
}

/*
 * A socket with all its options and its filter, not yet bound. Negative error number if refused;
 * `*syscall` then says by which call.
 */
static int open_unbound(uint32_t receive_buffer, const struct sock_fprog* program, const char** syscall) {
  const int on = 1, size = (int)receive_buffer;
  *syscall = "socket";
  int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  *syscall = "setsockopt";
  int error = 0;
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) != 0 ||
      setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0) {
    error = errno;
  } else {
    *syscall = "SO_ATTACH_FILTER";
    error = attach(fd, program);
  }
  if (error == 0) return fd;
  close(fd);
  return -error;
}

static int bind_to(int fd, uint32_t interface_index, uint16_t protocol) {
  struct sockaddr_ll address = {.sll_family = AF_PACKET,
                                .sll_protocol = htons(protocol),
                                .sll_ifindex = (int)interface_index};
  return bind(fd, (struct sockaddr*)&address, sizeof address) == 0 ? 0 : errno;
}

/* Opens, binds and watches a receiving socket. 0, or an error number and `*syscall`. */
static int add_receiver(packet_socket* s, uint16_t protocol, const struct sock_fprog* program,
                        const char** syscall) {
  uv_loop_t* loop;
  int fd = open_unbound(s->receive_buffer, program, syscall);
  if (fd < 0) return -fd;
  receiver* r = calloc(1, sizeof *r);
  *syscall = "uv_poll_init";
  int error = r == NULL ? ENOMEM : 0;
  if (error == 0 && napi_get_uv_event_loop(s->base.env, &loop) != napi_ok) error = EINVAL;
  if (error == 0) error = -uv_poll_init(loop, &r->poll, fd);
  if (error != 0) {
    free(r);
    close(fd);
    return error;
  }
  s->base.handles++;
  r->poll.data = r;
  r->owner = s;
  r->fd = fd;
  r->protocol = protocol;
  r->next = s->receivers;
  s->receivers = r;
  *syscall = "bind";
  error = bind_to(fd, s->interface_index, protocol);
  if (error != 0) close_receiver(r);
  else watch(r);
  return error;
}

static void free_packet_socket(owner* o) {
  packet_socket* s = (packet_socket*)o;
  free(s->in);
  free(s->out);
  free(s->in_vectors);
  free(s->out_vectors);
  free(s->from);
  free(s->to);
  free(s->controls);
  free(s);
}

static void close_packet_socket(owner* o) {
  packet_socket* s = (packet_socket*)o;
  while (s->receivers != NULL) close_receiver(s->receivers);
  if (s->transmit_fd >= 0) close_descriptor(o, s->transmit_fd);
  s->transmit_fd = -1;
  if (s->memory != NULL) napi_delete_reference(o->env, s->memory);
  if (s->on_batch != NULL) napi_delete_reference(o->env, s->on_batch);
  if (s->on_error != NULL) napi_delete_reference(o->env, s->on_error);
}

/* The memory for the kernel, laid out once: a batch then costs no set-up but two lengths a slot. */
static bool lay_out(packet_socket* s) {
  uint32_t n = s->slots;
  s->in = calloc(n, sizeof *s->in);
  s->out = calloc(n, sizeof *s->out);
  s->in_vectors = calloc(n, sizeof *s->in_vectors);
  s->out_vectors = calloc(n, sizeof *s->out_vectors);
  s->from = calloc(n, sizeof *s->from);
  s->to = calloc(n, sizeof *s->to);
  s->controls = calloc(n, sizeof *s->controls);
  if (!s->in || !s->out || !s->in_vectors || !s->out_vectors || !s->from || !s->to || !s->controls) {
    return false;
  }
  for (uint32_t i = 0; i < n; i++) {
    size_t offset = (size_t)i * s->slot_size;
    s->in_vectors[i] = (struct iovec){s->octets + offset, s->slot_size};
    s->in[i].msg_hdr = (struct msghdr){.msg_name = &s->from[i],
                                       .msg_iov = &s->in_vectors[i],
                                       .msg_iovlen = 1,
                                       .msg_control = s->controls[i].octets};
    s->out_vectors[i] = (struct iovec){s->send_octets + offset, 0};
    s->to[i] = (struct sockaddr_ll){.sll_family = AF_PACKET, .sll_ifindex = (int)s->interface_index};
    s->out[i].msg_hdr = (struct msghdr){.msg_name = &s->to[i],
                                        .msg_namelen = sizeof s->to[i],
                                        .msg_iov = &s->out_vectors[i],
                                        .msg_iovlen = 1};
  }
  prepare_slots(s, n);
  return true;
}

static bool share_memory(packet_socket* s, napi_value self) {
  napi_env env = s->base.env;
  napi_value holder;
  const size_t n = s->slots, octets = n * s->slot_size;
  return napi_create_object(env, &holder) == napi_ok &&
         share_array(env, holder, "octets", napi_uint8_array, octets, 1, (void**)&s->octets) &&
         share_array(env, holder, "lengths", napi_uint32_array, n, 4, (void**)&s->lengths) &&
         share_array(env, holder, "types", napi_uint8_array, n, 1, (void**)&s->types) &&
         share_array(env, holder, "seconds", napi_float64_array, n, 8, (void**)&s->seconds) &&
         share_array(env, holder, "nanoseconds", napi_uint32_array, n, 4, (void**)&s->nanoseconds) &&
         share_array(env, holder, "sendOctets", napi_uint8_array, octets, 1, (void**)&s->send_octets) &&
         share_array(env, holder, "sendLengths", napi_uint32_array, n, 4, (void**)&s->send_lengths) &&
         share_array(env, holder, "status", napi_int32_array, 1, 4, (void**)&s->status) &&
         napi_object_freeze(env, holder) == napi_ok &&
         napi_set_named_property(env, self, "memory", holder) == napi_ok &&
         napi_create_reference(env, holder, 1, &s->memory) == napi_ok;
}

static bool in_range(napi_env env, const char* message, uint32_t value, uint32_t least, uint32_t most) {
  if (value >= least && value <= most) return true;
  napi_throw_range_error(env, "ERR_OUT_OF_RANGE", message);
  return false;
}

static bool read_options(packet_socket* s, napi_value options) {
  napi_env env = s->base.env;
  return get_uint32(env, options, "interfaceIndex", &s->interface_index) &&
         in_range(env, "interfaceIndex: expected 1 to 2147483647", s->interface_index, 1, INT32_MAX) &&
         get_uint32(env, options, "slots", &s->slots) &&
         in_range(env, "slots: expected 1 to 1024", s->slots, 1, MAX_SLOTS) &&
         get_uint32(env, options, "slotSize", &s->slot_size) &&
         in_range(env, "slotSize: expected 64 to 65536", s->slot_size, 64, MAX_SLOT_SIZE) &&
         get_uint32(env, options, "receiveBuffer", &s->receive_buffer) &&
         in_range(env, "receiveBuffer: expected 0 to 2147483647", s->receive_buffer, 0, INT32_MAX) &&
         get_function(env, options, "onBatch", &s->on_batch) &&
         get_function(env, options, "onError", &s->on_error);
}

/* Element i of an options array. */
static bool get_element(napi_env env, napi_value options, const char* name, uint32_t i, napi_value* result) {
  napi_value list;
  return napi_get_named_property(env, options, name, &list) == napi_ok &&
         napi_get_element(env, list, i, result) == napi_ok;
}

/* The length of an array. False with a pending exception. */
static bool count_elements(napi_env env, napi_value list, const char* expected, uint32_t* count) {
  bool is_array = false;
  if (napi_is_array(env, list, &is_array) == napi_ok && is_array &&
      napi_get_array_length(env, list, count) == napi_ok && *count >= 1 && *count <= MAX_RECEIVERS) {
    return true;
  }
  throw_type(env, expected);
  return false;
}

/* Opens the socket for protocol i. False with a pending exception. */
static bool open_receiver(packet_socket* s, napi_value options, uint32_t i) {
  napi_env env = s->base.env;
  napi_value value;
  uint32_t protocol = 0;
  filter f;
  if (!get_element(env, options, "protocols", i, &value) ||
      napi_get_value_uint32(env, value, &protocol) != napi_ok || protocol < ETH_P_802_3_MIN ||
      protocol > UINT16_MAX) {
    throw_type(env, "protocols: expected EtherTypes from 0x0600 to 0xffff");
    return false;
  }
  if (!get_element(env, options, "filters", i, &value) || !read_filter(env, value, &f)) return false;
  const char* syscall;
  int error = add_receiver(s, (uint16_t)protocol, &f.program, &syscall);
  free(f.instructions);
  if (error != 0) throw_errno(env, error, syscall);
  return error == 0;
}

static bool open_sockets(packet_socket* s, napi_value options) {
  napi_value list;
  uint32_t count;
  if (napi_get_named_property(s->base.env, options, "protocols", &list) != napi_ok ||
      !count_elements(s->base.env, list, "protocols: expected an array of 1 to 64 EtherTypes", &count)) {
    return false;
  }
  s->transmit_fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (s->transmit_fd < 0) {
    throw_errno(s->base.env, errno, "socket");
    return false;
  }
  for (uint32_t i = 0; i < count; i++) {
    if (!open_receiver(s, options, i)) return false;
  }
  return true;
}

static napi_value construct(napi_env env, napi_callback_info info) {
  napi_value self, options;
  size_t count = 1;
  if (napi_get_cb_info(env, info, &count, &options, &self, NULL) != napi_ok) return NULL;
  packet_socket* s = calloc(1, sizeof *s);
  if (s == NULL) {
    throw_errno(env, ENOMEM, "calloc");
    return NULL;
  }
  s->transmit_fd = -1;
  s->base.close = close_packet_socket;
  s->base.free = free_packet_socket;
  if (!owner_init(&s->base, env, self, "PacketSocket")) {
    free(s);
    return NULL;
  }
  if (!read_options(s, options) || !share_memory(s, self) || !lay_out(s) ||
      !open_sockets(s, options)) {
    throw_type(env, "options: no memory");
    owner_close(&s->base);
    return NULL;
  }
  return self;
}

/* ---- methods ---- */

static uint16_t ethertype_of(const uint8_t* frame) {
  return (uint16_t)(frame[ETHERTYPE_OFFSET] << 8 | frame[ETHERTYPE_OFFSET + 1]);
}

/* The send buffer may be full for a moment: the frames after this one would be refused as well. */
static bool concerns_all(int error) {
  return error == EAGAIN || error == ENOBUFS || error == ENETDOWN || error == ENXIO || error == ENODEV;
}

/* Sends frames 0 to count - 1; returns how many the kernel took. */
static uint32_t send_all(packet_socket* s, uint32_t count) {
  uint32_t next = 0, taken = 0;
  while (next < count) {
    int sent = sendmmsg(s->transmit_fd, s->out + next, count - next, MSG_DONTWAIT);
    if (sent > 0) {
      taken += (uint32_t)sent;
      next += (uint32_t)sent;
    } else if (errno != EINTR) {
      s->status[0] = -errno;
      if (concerns_all(errno)) break;
      next++;
    }
  }
  return taken;
}

static napi_value flush(napi_env env, napi_callback_info info) {
  napi_value argument, result;
  uint32_t count = 0;
  packet_socket* s = owner_arguments(env, info, 1, &argument);
  if (s == NULL) return NULL;
  if (napi_get_value_uint32(env, argument, &count) != napi_ok || count > s->slots) {
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "count: expected 0 to the number of slots");
    return NULL;
  }
  for (uint32_t i = 0; i < count; i++) {
    uint32_t length = s->send_lengths[i];
    s->out_vectors[i].iov_len = length <= s->slot_size ? length : s->slot_size;
    s->to[i].sll_protocol = htons(ethertype_of(s->out_vectors[i].iov_base));
  }
  s->status[0] = 0;
  return napi_create_uint32(env, send_all(s, count), &result) == napi_ok ? result : NULL;
}

/*
 * Replacing the filter of a socket is atomic, but the kernel charges the socket for the old and the
 * new one at once (net.core.optmem_max), and those of several sockets cannot be replaced together.
 * Where the one is refused, or the other needed, fresh sockets take the new filters, and the old
 * ones, closed to new frames, are read to their end. For an instant both take the same frame: one may
 * come twice, or behind a newer one; none is lost.
 */

typedef struct {
  uint32_t count;
  filter filters[MAX_RECEIVERS];
} filter_list;

static void free_filters(filter_list* list) {
  for (uint32_t i = 0; i < list->count; i++) free(list->filters[i].instructions);
}

/* Copies an array of filters. False with a pending exception; otherwise to be freed. */
static bool read_filters(napi_env env, napi_value array, filter_list* list) {
  uint32_t count;
  list->count = 0;
  if (!count_elements(env, array, "filters: expected an array of 1 to 64 programs", &count)) return false;
  for (uint32_t i = 0; i < count; i++, list->count++) {
    napi_value program;
    if (napi_get_element(env, array, i, &program) == napi_ok &&
        read_filter(env, program, &list->filters[i])) {
      continue;
    }
    free_filters(list);
    return false;
  }
  return true;
}

static bool receives(const receiver* r, uint16_t protocol) {
  return !r->retiring && r->protocol == protocol;
}

static void retire(receiver* r) {
  static struct sock_filter drop_all[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
  const struct sock_fprog shut = {COUNT_OF(drop_all), drop_all};
  /* Unbinding would turn the queue's end into an error; if even this is refused, duplicates go on
     only until the old socket is closed, in this turn of the loop. */
  attach(r->fd, &shut);
  r->retiring = true;
  watch(r);
}

/* Opens a socket for each filter, or none. 0, or an error number and `*syscall`. */
static int add_receivers(packet_socket* s, uint16_t protocol, const filter_list* list, const char** syscall) {
  receiver* before = s->receivers;
  for (uint32_t i = 0; i < list->count; i++) {
    int error = add_receiver(s, protocol, &list->filters[i].program, syscall);
    if (error == 0) continue;
    /* New ones stand at the head. */
    while (s->receivers != before) close_receiver(s->receivers);
    return error;
  }
  return 0;
}

/* The only socket of a protocol; NULL when there are more. */
static receiver* only_receiver(packet_socket* s, uint16_t protocol) {
  receiver* only = NULL;
  for (receiver* r = s->receivers; r != NULL; r = r->next) {
    if (!receives(r, protocol)) continue;
    if (only != NULL) return NULL;
    only = r;
  }
  return only;
}

/* 0, or an error number and `*syscall`: what was attached before stands. */
static int replace_filters(packet_socket* s, uint16_t protocol, const filter_list* list, const char** syscall) {
  receiver* only = only_receiver(s, protocol);
  if (only != NULL && list->count == 1) {
    *syscall = "SO_ATTACH_FILTER";
    int error = attach(only->fd, &list->filters[0].program);
    if (error != ENOMEM) return error;
  }
  receiver* before = s->receivers;
  int error = add_receivers(s, protocol, list, syscall);
  if (error != 0) return error;
  for (receiver* r = before; r != NULL; r = r->next) {
    if (receives(r, protocol)) retire(r);
  }
  return 0;
}

/* setFilters(array of octets, protocol): a frame passes when any of them accepts it. */
static napi_value set_filters(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  uint32_t protocol = 0;
  filter_list list;
  packet_socket* s = owner_arguments(env, info, 2, arguments);
  if (s == NULL || !read_filters(env, arguments[0], &list)) return NULL;
  int error = EINVAL;
  const char* syscall = "protocol";
  if (napi_get_value_uint32(env, arguments[1], &protocol) == napi_ok && protocol >= ETH_P_802_3_MIN &&
      protocol <= UINT16_MAX) {
    error = replace_filters(s, (uint16_t)protocol, &list, &syscall);
  }
  free_filters(&list);
  if (error != 0) throw_errno(env, error, syscall);
  return NULL;
}

/* setMembership(address, joined): reception of a multicast hardware address. */
static napi_value set_membership(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  uint8_t* octets;
  size_t length;
  bool joined = false;
  packet_socket* s = owner_arguments(env, info, 2, arguments);
  if (s == NULL || !get_octets(env, arguments[0], "address", &octets, &length)) return NULL;
  if (length != ETH_ALEN || napi_get_value_bool(env, arguments[1], &joined) != napi_ok) {
    throw_type(env, "expected a hardware address of 6 octets and a boolean");
    return NULL;
  }
  struct packet_mreq request = {
      .mr_ifindex = (int)s->interface_index, .mr_type = PACKET_MR_MULTICAST, .mr_alen = ETH_ALEN};
  memcpy(request.mr_address, octets, ETH_ALEN);
  int option = joined ? PACKET_ADD_MEMBERSHIP : PACKET_DROP_MEMBERSHIP;
  if (setsockopt(s->transmit_fd, SOL_PACKET, option, &request, sizeof request) != 0) {
    throw_errno(env, errno, joined ? "PACKET_ADD_MEMBERSHIP" : "PACKET_DROP_MEMBERSHIP");
  }
  return NULL;
}

/* statistics(): [frames that passed the filter, those of them dropped for want of buffer]. */
static napi_value statistics(napi_env env, napi_callback_info info) {
  napi_value received, dropped, result;
  packet_socket* s = owner_arguments(env, info, 0, NULL);
  if (s == NULL) return NULL;
  for (receiver* r = s->receivers; r != NULL; r = r->next) count_statistics(r);
  if (napi_create_double(env, (double)s->received, &received) != napi_ok ||
      napi_create_double(env, (double)s->dropped, &dropped) != napi_ok ||
      napi_create_array_with_length(env, 2, &result) != napi_ok) {
    return NULL;
  }
  napi_set_element(env, result, 0, received);
  napi_set_element(env, result, 1, dropped);
  return result;
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

bool define_packet_socket(napi_env env, napi_value exports) {
  napi_property_descriptor methods[] = {
      {.utf8name = "flush", .method = flush, .attributes = napi_default_method},
      {.utf8name = "setFilters", .method = set_filters, .attributes = napi_default_method},
      {.utf8name = "setMembership", .method = set_membership, .attributes = napi_default_method},
      {.utf8name = "statistics", .method = statistics, .attributes = napi_default_method},
      {.utf8name = "close", .method = close_method, .attributes = napi_default_method},
  };
  napi_value class;
  return napi_define_class(env, "PacketSocket", NAPI_AUTO_LENGTH, construct, NULL,
                           COUNT_OF(methods), methods, &class) == napi_ok &&
         napi_set_named_property(env, exports, "PacketSocket", class) == napi_ok;
}
