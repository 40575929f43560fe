/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "virtio-net-shim.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif

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

/*
 * Whether a read waits is a property that all who have the eventfd share: a process that it was handed to can have it wait.
 * RWF_NOWAIT says for this read alone that it must not; kernels before 5.8 do not know it for an eventfd.
 */
static ssize_t read_now(int fd, uint64_t *count)
{
    struct iovec part = { count, sizeof(*count) };
    struct pollfd wanted = { .fd = fd, .events = POLLIN };
    ssize_t n = syscall(__NR_preadv2, fd, &part, 1L, -1L, -1L, (long)RWF_NOWAIT);

    if (n >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS))
        return n;
    if (poll(&wanted, 1, 0) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return read(fd, count, sizeof(*count));
}

int64_t vn_eventfd_drain(int32_t fd)
{
    uint64_t count = 0;
    ssize_t n = read_now(fd, &count);

    if (n < 0)
        return errno == EAGAIN ? 0 : -(int64_t)errno;
    if (n != sizeof(count))
        return -EIO;
    return count > INT64_MAX ? INT64_MAX : (int64_t)count;
}
