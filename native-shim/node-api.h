/* SPDX-License-Identifier: MIT */
/*
 * The few declarations of Node-API and libuv that are needed; the ABI of both is stable. Weak, since Node's
 * executable provides them, and the library must also load where there is none.
 */
#ifndef VIRTIO_NET_NODE_API_H
#define VIRTIO_NET_NODE_API_H

#include <stdbool.h>
#include <stddef.h>

#define WEAK __attribute__((weak))

struct uv_loop_s;
struct uv_handle_s;
typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
typedef struct napi_ref__ *napi_ref;
typedef struct napi_callback_info__ *napi_callback_info;
typedef struct napi_handle_scope__ *napi_handle_scope;
typedef struct napi_async_context__ *napi_async_context;
typedef napi_value (*napi_callback)(napi_env env, napi_callback_info info);
typedef void (*napi_finalize)(napi_env env, void *data, void *hint);

/* Of the status codes only this one matters. */
#define NAPI_OK 0

WEAK int napi_add_env_cleanup_hook(napi_env, void (*hook)(void *), void *argument);
WEAK int napi_remove_env_cleanup_hook(napi_env, void (*hook)(void *), void *argument);
WEAK int napi_close_handle_scope(napi_env, napi_handle_scope);
WEAK int napi_create_external(napi_env, void *data, napi_finalize, void *hint, napi_value *result);
WEAK int napi_create_function(napi_env, const char *name, size_t length, napi_callback, void *data, napi_value *result);
WEAK int napi_create_object(napi_env, napi_value *result);
WEAK int napi_create_reference(napi_env, napi_value, unsigned int count, napi_ref *result);
WEAK int napi_delete_reference(napi_env, napi_ref);
WEAK int napi_detach_arraybuffer(napi_env, napi_value buffer);
WEAK int napi_fatal_exception(napi_env, napi_value error);
WEAK int napi_get_and_clear_last_exception(napi_env, napi_value *result);
WEAK int napi_get_boolean(napi_env, bool value, napi_value *result);
WEAK int napi_get_cb_info(napi_env, napi_callback_info, size_t *argc, napi_value *argv, napi_value *self, void **data);
WEAK int napi_get_global(napi_env, napi_value *result);
WEAK int napi_get_named_property(napi_env, napi_value object, const char *name, napi_value *result);
WEAK int napi_get_reference_value(napi_env, napi_ref, napi_value *result);
WEAK int napi_get_uv_event_loop(napi_env, struct uv_loop_s **result);
WEAK int napi_get_value_bool(napi_env, napi_value, bool *result);
WEAK int napi_get_value_external(napi_env, napi_value, void **result);
WEAK int napi_get_value_int32(napi_env, napi_value, int *result);
WEAK int napi_is_exception_pending(napi_env, bool *result);
WEAK int napi_make_callback(napi_env, napi_async_context, napi_value self, napi_value function, size_t argc,
                            const napi_value *argv, napi_value *result);
WEAK int napi_open_handle_scope(napi_env, napi_handle_scope *result);
WEAK int napi_set_named_property(napi_env, napi_value object, const char *name, napi_value value);

#define UV_POLL 8
#define UV_READABLE 1

WEAK void uv_close(struct uv_handle_s *, void (*closed)(struct uv_handle_s *));
WEAK size_t uv_handle_size(int type);
WEAK void *uv_handle_get_data(const struct uv_handle_s *);
WEAK void uv_handle_set_data(struct uv_handle_s *, void *data);
WEAK int uv_poll_init(struct uv_loop_s *, struct uv_handle_s *, int fd);
WEAK int uv_poll_start(struct uv_handle_s *, int events, void (*ready)(struct uv_handle_s *, int status, int events));
WEAK void uv_ref(struct uv_handle_s *);
WEAK void uv_unref(struct uv_handle_s *);

/* node-api.c: detach(buffer), which returns whether it could. */
napi_value vn_node_detach(napi_env env, napi_callback_info info);
/*
 * closeAtExit(fd, whether): has a file descriptor closed when the environment ends, as Node does with its own: a
 * worker that is terminated closes nothing itself, and the process goes on. Returns whether it could.
 */
napi_value vn_node_close_at_exit(napi_env env, napi_callback_info info);
/* poll.c: open(fd, callback, isEventfd), which returns a handle or false; keepAlive(handle, whether); close(handle). */
napi_value vn_node_poll_open(napi_env env, napi_callback_info info);
napi_value vn_node_poll_keep_alive(napi_env env, napi_callback_info info);
napi_value vn_node_poll_close(napi_env env, napi_callback_info info);

#endif
