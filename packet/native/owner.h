/*
 * What a socket object of this module shares with the others: a JavaScript object that owns file
 * descriptors and libuv handles on the loop of its environment (main thread or worker).
 *
 * Life of an owner:
 * - open: a strong reference keeps the JavaScript object alive, because the loop may call it;
 * - closed (by close(), or by the end of the environment): no callback comes any more, descriptors
 *   are closed, the strong reference is gone;
 * - freed: when every libuv handle has confirmed its closing and the JavaScript object is
 *   collected, whichever comes last. Both happen in any order at the end of a worker.
 */
#ifndef OWNER_H
#define OWNER_H

#define NAPI_VERSION 9
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

typedef struct owner owner;

struct owner {
  napi_env env;
  napi_ref self;
  napi_async_context context;
  napi_async_cleanup_hook_handle cleanup;
  unsigned handles;
  bool closed;
  bool collected;
  void (*close)(owner*);
  void (*free)(owner*);
};

/* Wraps `o` in `self`. On failure an exception is pending and `o` stays with the caller. */
bool owner_init(owner* o, napi_env env, napi_value self, const char* name);

/* Closes what is open. May be called twice, and from within a callback of the owner. */
void owner_close(owner* o);

/* To be called when a libuv handle of the owner (counted in `handles`) has confirmed its closing. */
void owner_handle_closed(owner* o);

/* Calls a JavaScript function from the loop. Its exceptions become uncaught exceptions. */
void owner_call(owner* o, napi_ref function, size_t count, const napi_value* arguments);

/* Unwraps `this` and up to `count` arguments; NULL with a pending exception if it is no open owner. */
void* owner_arguments(napi_env env, napi_callback_info info, size_t count, napi_value* arguments);

/* Throws an Error with `code` (ENODEV …), `errno`, `syscall` and a message of all three. */
void throw_errno(napi_env env, int error, const char* syscall);

/* Throws a TypeError that says what was expected. */
void throw_type(napi_env env, const char* message);

/* Readers of an options object. False with a pending TypeError that names the field. */
bool get_uint32(napi_env env, napi_value object, const char* name, uint32_t* result);
bool get_function(napi_env env, napi_value object, const char* name, napi_ref* result);
bool get_octets(napi_env env, napi_value value, const char* name, uint8_t** octets, size_t* length);

/*
 * Makes a typed array that JavaScript and this module share, as property `name` of `holder`.
 * The caller keeps `holder` referenced as long as it uses the memory.
 */
bool share_array(napi_env env, napi_value holder, const char* name, napi_typedarray_type type,
                 size_t elements, size_t width, void** data);

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
