/* SPDX-License-Identifier: MIT */
/*
 * What needs JavaScript values: a foreign-function call can not pass them. So the shim makes JavaScript
 * functions once for each environment (main thread, worker) and hands them over by way of the constructor
 * Function, which JavaScript finds through any function of koffi, also where it runs in a context with a global
 * object of its own, as in Jest. From then on JavaScript calls them like any other.
 */
#define _GNU_SOURCE
#include "node-api.h"
#include "virtio-net-shim.h"

#include <errno.h>

static const struct {
    const char *name;
    napi_callback function;
} FUNCTIONS[] = {
    { "detach", vn_node_detach },
    { "closeAtExit", vn_node_close_at_exit },
    { "pollOpen", vn_node_poll_open },
    { "pollKeepAlive", vn_node_poll_keep_alive },
    { "pollClose", vn_node_poll_close },
};

static bool add_functions(napi_env env, napi_value object)
{
    for (size_t i = 0; i < sizeof(FUNCTIONS) / sizeof(FUNCTIONS[0]); i++) {
        const char *name = FUNCTIONS[i].name;
        napi_value function;

        if (napi_create_function(env, name, (size_t)-1, FUNCTIONS[i].function, NULL, &function) != NAPI_OK ||
            napi_set_named_property(env, object, name, function) != NAPI_OK)
            return false;
    }
    return true;
}

int64_t vn_install(void *env, const char *name)
{
    napi_value global, constructor, object;

    if (env == NULL || name == NULL)
        return -EINVAL;
    /* These came last into Node-API and libuv of those that are used; who has them has the others. */
    if (!napi_detach_arraybuffer || !uv_handle_set_data)
        return -ENOSYS;
    if (napi_get_global(env, &global) != NAPI_OK ||
        napi_get_named_property(env, global, "Function", &constructor) != NAPI_OK ||
        napi_create_object(env, &object) != NAPI_OK || !add_functions(env, object) ||
        napi_set_named_property(env, constructor, name, object) != NAPI_OK)
        return -EIO;
    return 0;
}

napi_value vn_node_detach(napi_env env, napi_callback_info info)
{
    napi_value buffer = NULL, result = NULL;
    size_t count = 1;
    bool detached = false;

    if (napi_get_cb_info(env, info, &count, &buffer, NULL, NULL) == NAPI_OK && count == 1)
        detached = napi_detach_arraybuffer(env, buffer) == NAPI_OK;
    return napi_get_boolean(env, detached, &result) == NAPI_OK ? result : NULL;
}

static void close_fd(void *fd) { vn_close((int32_t)(intptr_t)fd); }

napi_value vn_node_close_at_exit(napi_env env, napi_callback_info info)
{
    napi_value args[2], result = NULL;
    size_t count = 2;
    int fd;
    bool wanted, done = false;

    if (napi_get_cb_info(env, info, &count, args, NULL, NULL) == NAPI_OK && count == 2 &&
        napi_get_value_int32(env, args[0], &fd) == NAPI_OK && napi_get_value_bool(env, args[1], &wanted) == NAPI_OK) {
        void *argument = (void *)(intptr_t)fd;
        done = (wanted ? napi_add_env_cleanup_hook(env, close_fd, argument)
                       : napi_remove_env_cleanup_hook(env, close_fd, argument)) == NAPI_OK;
    }
    return napi_get_boolean(env, done, &result) == NAPI_OK ? result : NULL;
}
