#include "owner.h"

#include <stdio.h>
#include <stdlib.h>

static void free_if_done(owner* o) {
  if (!o->closed || o->handles > 0) return;
  if (o->cleanup != NULL) {
    napi_remove_async_cleanup_hook(o->cleanup);
    o->cleanup = NULL;
  }
  if (o->collected) o->free(o);
}

void owner_close(owner* o) {
  if (o->closed) return;
  o->closed = true;
  o->close(o);
  napi_handle_scope scope;
  if (napi_open_handle_scope(o->env, &scope) == napi_ok) {
    napi_async_destroy(o->env, o->context);
    napi_delete_reference(o->env, o->self);
    napi_close_handle_scope(o->env, scope);
  }
  free_if_done(o);
}

void owner_handle_closed(owner* o) {
  o->handles--;
  free_if_done(o);
}

/* The environment ends: Node waits until free_if_done has removed this hook. */
static void on_environment_end(napi_async_cleanup_hook_handle handle, void* data) {
  (void)handle;
  owner_close(data);
}

static void on_collected(napi_env env, void* data, void* hint) {
  (void)env;
  (void)hint;
  owner* o = data;
  o->collected = true;
  if (!o->closed) owner_close(o);
  else free_if_done(o);
}

bool owner_init(owner* o, napi_env env, napi_value self, const char* name) {
  napi_value text;
  o->env = env;
  if (napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &text) != napi_ok ||
      napi_async_init(env, self, text, &o->context) != napi_ok) {
    throw_type(env, "no asynchronous context");
    return false;
  }
  if (napi_create_reference(env, self, 1, &o->self) != napi_ok) goto no_reference;
  if (napi_add_async_cleanup_hook(env, on_environment_end, o, &o->cleanup) != napi_ok) goto no_hook;
  if (napi_wrap(env, self, o, on_collected, NULL, NULL) != napi_ok) goto no_wrap;
  return true;
no_wrap:
  napi_remove_async_cleanup_hook(o->cleanup);
no_hook:
  napi_delete_reference(env, o->self);
no_reference:
  napi_async_destroy(env, o->context);
  throw_type(env, "the object cannot be wrapped");
  return false;
}

void owner_call(owner* o, napi_ref function, size_t count, const napi_value* arguments) {
  napi_value self, callee, error;
  if (napi_get_reference_value(o->env, o->self, &self) != napi_ok ||
      napi_get_reference_value(o->env, function, &callee) != napi_ok) {
    return;
  }
  if (napi_make_callback(o->env, o->context, self, callee, count, arguments, NULL) == napi_ok) return;
  /* A worker that is being terminated refuses the call without an exception: nothing to report. */
  bool pending = false;
  if (napi_is_exception_pending(o->env, &pending) != napi_ok || !pending) return;
  if (napi_get_and_clear_last_exception(o->env, &error) == napi_ok) {
    napi_fatal_exception(o->env, error);
  }
}

void* owner_arguments(napi_env env, napi_callback_info info, size_t count, napi_value* arguments) {
  napi_value self;
  void* o = NULL;
  size_t given = count;
  if (napi_get_cb_info(env, info, &given, arguments, &self, NULL) != napi_ok ||
      napi_unwrap(env, self, &o) != napi_ok) {
    throw_type(env, "called on a foreign object");
    return NULL;
  }
  if (((owner*)o)->closed) {
    throw_errno(env, UV_EBADF, "closed socket");
    return NULL;
  }
  return o;
}

/* libuv's error numbers are the negated ones of the system; either is taken. */
void throw_errno(napi_env env, int error, const char* syscall) {
  int number = error < 0 ? error : -error;
  char name[32], reason[128], text[224];
  uv_err_name_r(number, name, sizeof name);
  uv_strerror_r(number, reason, sizeof reason);
  snprintf(text, sizeof text, "%s: %s, %s", name, reason, syscall);
  napi_value message, code, value, call, result;
  if (napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &message) != napi_ok ||
      napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &code) != napi_ok ||
      napi_create_string_utf8(env, syscall, NAPI_AUTO_LENGTH, &call) != napi_ok ||
      napi_create_int32(env, number, &value) != napi_ok ||
      napi_create_error(env, code, message, &result) != napi_ok) {
    return;
  }
  napi_set_named_property(env, result, "errno", value);
  napi_set_named_property(env, result, "syscall", call);
  napi_throw(env, result);
}

void throw_type(napi_env env, const char* message) {
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
}

static bool refuse(napi_env env, const char* name, const char* expected) {
  char text[96];
  snprintf(text, sizeof text, "%s: expected %s", name, expected);
  throw_type(env, text);
  return false;
}

bool get_uint32(napi_env env, napi_value object, const char* name, uint32_t* result) {
  napi_value value;
  double number;
  if (napi_get_named_property(env, object, name, &value) != napi_ok ||
      napi_get_value_double(env, value, &number) != napi_ok || !(number >= 0) ||
      number > UINT32_MAX) {
    return refuse(env, name, "an unsigned 32-bit number");
  }
  *result = (uint32_t)number;
  return true;
}

bool get_function(napi_env env, napi_value object, const char* name, napi_ref* result) {
  napi_value value;
  napi_valuetype type;
  if (napi_get_named_property(env, object, name, &value) != napi_ok ||
      napi_typeof(env, value, &type) != napi_ok || type != napi_function ||
      napi_create_reference(env, value, 1, result) != napi_ok) {
    return refuse(env, name, "a function");
  }
  return true;
}

bool get_octets(napi_env env, napi_value value, const char* name, uint8_t** octets, size_t* length) {
  bool typed = false;
  napi_typedarray_type type;
  void* data;
  if (napi_is_typedarray(env, value, &typed) != napi_ok || !typed ||
      napi_get_typedarray_info(env, value, &type, length, &data, NULL, NULL) != napi_ok ||
      type != napi_uint8_array) {
    return refuse(env, name, "a Uint8Array");
  }
  *octets = data;
  return true;
}

bool share_array(napi_env env, napi_value holder, const char* name, napi_typedarray_type type,
                 size_t elements, size_t width, void** data) {
  napi_value memory, array;
  return napi_create_arraybuffer(env, elements * width, data, &memory) == napi_ok &&
         napi_create_typedarray(env, type, elements, memory, 0, &array) == napi_ok &&
         napi_set_named_property(env, holder, name, array) == napi_ok;
}
