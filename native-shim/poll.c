/* SPDX-License-Identifier: MIT */
/*
 * Waiting for an eventfd, or a socket, on Node's event loop, with libuv.
 *
 * A signal can arrive while the environment is being torn down (a worker that is terminated, a process that
 * ends with its polls unreferenced): libuv still turns then, and JavaScript can not run any more. That must
 * be harmless, so a callback that can not be called is left out, and a cleanup hook closes what is open.
 */
#define _GNU_SOURCE
#include "node-api.h"
#include "virtio-net-shim.h"

#include <stdlib.h>

struct poll {
    napi_env env;
    napi_ref callback;
    int fd;
    /* It is an eventfd. Others are left as they are: it is the callback that must read, or close the poll. */
    bool drained;
    bool open;
    /* Freed when libuv has let go of the handle and JavaScript of the external: whichever is later. */
    int owners;
    /* As many bytes as libuv says. */
    max_align_t handle[];
};

static struct uv_handle_s *handle_of(struct poll *poll) { return (struct uv_handle_s *)poll->handle; }

static void drop(struct poll *poll)
{
    poll->owners--;
    if (poll->owners == 0)
        free(poll);
}

static void on_closed(struct uv_handle_s *handle) { drop(uv_handle_get_data(handle)); }

static void close_poll(void *data)
{
    struct poll *poll = data;

    if (!poll->open)
        return;
    poll->open = false;
    napi_remove_env_cleanup_hook(poll->env, close_poll, poll);
    napi_delete_reference(poll->env, poll->callback);
    uv_close(handle_of(poll), on_closed);
}

static void on_collected(napi_env env, void *data, void *hint)
{
    (void)env;
    (void)hint;
    close_poll(data);
    drop(data);
}

static void call_back(struct poll *poll)
{
    napi_env env = poll->env;
    napi_value global, function, error;
    bool threw = false;

    if (napi_get_global(env, &global) != NAPI_OK || napi_get_reference_value(env, poll->callback, &function) != NAPI_OK)
        return;
    if (napi_make_callback(env, NULL, global, function, 0, NULL, NULL) == NAPI_OK)
        return;
    /* An exception becomes an uncaught one; where there is none, JavaScript could not run. */
    if (napi_is_exception_pending(env, &threw) == NAPI_OK && threw &&
        napi_get_and_clear_last_exception(env, &error) == NAPI_OK)
        napi_fatal_exception(env, error);
}

static void on_ready(struct uv_handle_s *handle, int status, int events)
{
    struct poll *poll = uv_handle_get_data(handle);
    napi_handle_scope scope;

    (void)status;
    (void)events;
    /* Before the callback, so that a signal that arrives during it is not lost. */
    if (!poll->open || (poll->drained && vn_eventfd_drain(poll->fd) <= 0))
        return;
    if (napi_open_handle_scope(poll->env, &scope) != NAPI_OK)
        return;
    call_back(poll);
    napi_close_handle_scope(poll->env, scope);
}

static napi_value boolean(napi_env env, bool value)
{
    napi_value result;

    return napi_get_boolean(env, value, &result) == NAPI_OK ? result : NULL;
}

/* From here on the handle belongs to libuv, whatever fails. */
static bool start(struct poll *poll, napi_value callback)
{
    if (napi_create_reference(poll->env, callback, 1, &poll->callback) != NAPI_OK) {
        uv_close(handle_of(poll), on_closed);
        return false;
    }
    poll->open = true;
    if (napi_add_env_cleanup_hook(poll->env, close_poll, poll) == NAPI_OK &&
        uv_poll_start(handle_of(poll), UV_READABLE, on_ready) == 0)
        return true;
    close_poll(poll);
    return false;
}

static struct poll *create(napi_env env, int fd)
{
    struct uv_loop_s *loop;
    struct poll *poll = calloc(1, sizeof(*poll) + uv_handle_size(UV_POLL));

    if (poll == NULL)
        return NULL;
    if (napi_get_uv_event_loop(env, &loop) != NAPI_OK || uv_poll_init(loop, handle_of(poll), fd) != 0) {
        free(poll);
        return NULL;
    }
    uv_handle_set_data(handle_of(poll), poll);
    poll->env = env;
    poll->fd = fd;
    poll->owners = 1;
    return poll;
}

napi_value vn_node_poll_open(napi_env env, napi_callback_info info)
{
    napi_value args[3], external;
    size_t count = 3;
    int fd;
    bool drained;

    if (napi_get_cb_info(env, info, &count, args, NULL, NULL) != NAPI_OK || count != 3 ||
        napi_get_value_int32(env, args[0], &fd) != NAPI_OK || napi_get_value_bool(env, args[2], &drained) != NAPI_OK)
        return boolean(env, false);
    struct poll *poll = create(env, fd);
    if (poll == NULL)
        return boolean(env, false);
    poll->drained = drained;
    if (!start(poll, args[1]))
        return boolean(env, false);
    if (napi_create_external(env, poll, on_collected, NULL, &external) != NAPI_OK) {
        close_poll(poll);
        return boolean(env, false);
    }
    poll->owners++;
    return external;
}

/* The poll that the first argument stands for, and the rest of the arguments. */
static struct poll *poll_argument(napi_env env, napi_callback_info info, napi_value args[2])
{
    size_t count = 2;
    void *data = NULL;

    if (napi_get_cb_info(env, info, &count, args, NULL, NULL) != NAPI_OK || count < 1 ||
        napi_get_value_external(env, args[0], &data) != NAPI_OK)
        return NULL;
    return data;
}

napi_value vn_node_poll_keep_alive(napi_env env, napi_callback_info info)
{
    napi_value args[2];
    struct poll *poll = poll_argument(env, info, args);
    bool keep;

    if (poll == NULL || !poll->open || napi_get_value_bool(env, args[1], &keep) != NAPI_OK)
        return boolean(env, false);
    if (keep)
        uv_ref(handle_of(poll));
    else
        uv_unref(handle_of(poll));
    return boolean(env, true);
}

napi_value vn_node_poll_close(napi_env env, napi_callback_info info)
{
    napi_value args[2];
    struct poll *poll = poll_argument(env, info, args);

    if (poll == NULL)
        return boolean(env, false);
    close_poll(poll);
    return boolean(env, true);
}
