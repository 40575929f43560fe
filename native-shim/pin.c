/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "virtio-net-shim.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The kernel takes no larger buffer, and no mapping of this library is longer than all of these. */
#define LONGEST_BUFFER (1ull << 30)
#define MAX_BUFFERS 8u

/* An io_uring pins the buffers that are registered with it, and nothing else is done with this one. */
int64_t vn_memory_pin(uint64_t address, uint64_t size)
{
    struct io_uring_params params = { 0 };
    struct iovec buffers[MAX_BUFFERS];
    uint32_t count = 0;

    if (address == 0 || size == 0 || size > MAX_BUFFERS * LONGEST_BUFFER)
        return -EINVAL;
    for (uint64_t done = 0; done < size; done += buffers[count++].iov_len) {
        uint64_t left = size - done;
        buffers[count].iov_base = (void *)(uintptr_t)(address + done);
        buffers[count].iov_len = left < LONGEST_BUFFER ? left : LONGEST_BUFFER;
    }
    int ring = (int)syscall(__NR_io_uring_setup, 1, &params);
    if (ring < 0)
        return -(int64_t)errno;
    if (syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS, buffers, count) < 0) {
        int error = errno;
        close(ring);
        return -(int64_t)error;
    }
    return ring;
}

int64_t vn_memory_unpin(int32_t fd)
{
    /* Closing unpins as well, but some time later. */
    int64_t result = syscall(__NR_io_uring_register, fd, IORING_UNREGISTER_BUFFERS, NULL, 0) < 0 ? -(int64_t)errno : 0;

    return close(fd) == 0 || result < 0 ? result : -(int64_t)errno;
}
