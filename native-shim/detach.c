/* SPDX-License-Identifier: MIT */
/*
 * Detaching an ArrayBuffer, so that every view of it has length 0 before its memory is unmapped. JavaScript
 * has no means for that on Node 20, and structuredClone() copies external memory instead of moving it.
 *
 * A foreign-function call can not pass a JavaScript value. So the shim makes a JavaScript function once for
 * each environment (main thread, worker) and hands it over by way of the global object; from then on
 * JavaScript calls it like any other.
 */
#define _GNU_SOURCE
#include "virtio-net-shim.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * The few declarations of Node-API that are needed: its ABI is stable. Weak, since the executable provides
 * them, and the library must also load where there is none.
 */
typedef void *napi_env, *napi_value, *napi_callback_info;
typedef napi_value (*napi_callback)(napi_env env, napi_callback_info info);
#define NAPI_OK 0
#define WEAK __attribute__((weak))

WEAK int napi_get_cb_info(napi_env, napi_callback_info, size_t *argc, napi_value *argv, napi_value *self, void **data);
WEAK int napi_detach_arraybuffer(napi_env, napi_value buffer);
WEAK int napi_get_boolean(napi_env, bool value, napi_value *result);
WEAK int napi_get_global(napi_env, napi_value *result);
WEAK int napi_create_function(napi_env, const char *name, size_t length, napi_callback, void *data, napi_value *result);
WEAK int napi_set_named_property(napi_env, napi_value object, const char *name, napi_value value);

static napi_value detach(napi_env env, napi_callback_info info)
{
    napi_value buffer = NULL, result = NULL;
    size_t count = 1;
    bool detached = false;

    if (napi_get_cb_info(env, info, &count, &buffer, NULL, NULL) == NAPI_OK && count == 1)
        detached = napi_detach_arraybuffer(env, buffer) == NAPI_OK;
    return napi_get_boolean(env, detached, &result) == NAPI_OK ? result : NULL;
}

int64_t vn_install_detach(void *env, const char *name)
{
    napi_value global, function;

    if (env == NULL || name == NULL)
        return -EINVAL;
    if (!napi_get_cb_info || !napi_detach_arraybuffer || !napi_get_boolean || !napi_get_global ||
        !napi_create_function || !napi_set_named_property)
        return -ENOSYS;
    if (napi_get_global(env, &global) != NAPI_OK ||
        napi_create_function(env, "detach", (size_t)-1, detach, NULL, &function) != NAPI_OK ||
        napi_set_named_property(env, global, name, function) != NAPI_OK)
        return -EIO;
    return 0;
}
