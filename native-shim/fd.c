/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "virtio-net-shim.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

uint32_t vn_abi_version(void) { return VN_ABI_VERSION; }

int64_t vn_close(int32_t fd) { return close(fd) == 0 ? 0 : -(int64_t)errno; }

int64_t vn_eventfd_create(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    return fd >= 0 ? fd : -(int64_t)errno;
}

int64_t vn_eventfd_signal(int32_t fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof(one));

    if (n < 0)
        return -(int64_t)errno;
    return n == sizeof(one) ? 0 : -EIO;
}

int64_t vn_eventfd_drain(int32_t fd)
{
    uint64_t count = 0;
    ssize_t n = read(fd, &count, sizeof(count));

    if (n < 0)
        return errno == EAGAIN ? 0 : -(int64_t)errno;
    if (n != sizeof(count))
        return -EIO;
    return count > INT64_MAX ? INT64_MAX : (int64_t)count;
}
