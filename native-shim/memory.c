/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "virtio-net-shim.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static int64_t failure(void) { return -(int64_t)errno; }

int64_t vn_page_size(void) { return getpagesize(); }

static int64_t prepare(void *memory, uint64_t size, uint32_t flags)
{
    /*
     * MAP_POPULATE hides failures, which would come back as SIGBUS on the first touch. Kernels before
     * 5.14 do not know this call and answer EINVAL; there MAP_POPULATE has to do.
     */
    if (madvise(memory, size, MADV_POPULATE_WRITE) != 0 && errno != EINVAL)
        return failure();
    /*
     * Not for a forked child: it would hold pinned pages beyond this process's close, and could write
     * into rings that a device is reading.
     */
    if (madvise(memory, size, MADV_DONTFORK) != 0)
        return failure();
    if ((flags & VN_MEMORY_LOCKED) != 0 && mlock(memory, size) != 0)
        return failure();
    return 0;
}

int64_t vn_memory_allocate(uint64_t size, uint32_t flags)
{
    int how = MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE;

    if (size == 0 || flags > (VN_MEMORY_LOCKED | VN_MEMORY_HUGE_2M | VN_MEMORY_HUGE_1G))
        return -EINVAL;
    if ((flags & VN_MEMORY_HUGE_1G) != 0)
        how |= MAP_HUGETLB | (30 << MAP_HUGE_SHIFT);
    else if ((flags & VN_MEMORY_HUGE_2M) != 0)
        how |= MAP_HUGETLB | (21 << MAP_HUGE_SHIFT);

    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, how, -1, 0);
    if (memory == MAP_FAILED)
        return failure();
    int64_t result = prepare(memory, size, flags);
    if (result < 0) {
        munmap(memory, size);
        return result;
    }
    return (int64_t)(uintptr_t)memory;
}

int64_t vn_memory_map(int32_t fd, uint64_t offset, uint64_t size, uint32_t writable)
{
    int prot = writable != 0 ? PROT_READ | PROT_WRITE : PROT_READ;
    void *memory;

    if (size == 0 || offset > INT64_MAX)
        return -EINVAL;
    memory = mmap(NULL, size, prot, MAP_SHARED, fd, (off_t)offset);
    return memory != MAP_FAILED ? (int64_t)(uintptr_t)memory : failure();
}

int64_t vn_memory_unmap(uint64_t address, uint64_t size)
{
    if (address == 0)
        return -EINVAL;
    return munmap((void *)(uintptr_t)address, size) == 0 ? 0 : failure();
}

int64_t vn_memory_retire(uint64_t address, uint64_t size)
{
    void *at = (void *)(uintptr_t)address;
    int how = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;

    if (address == 0)
        return -EINVAL;
    return mmap(at, size, PROT_READ | PROT_WRITE, how, -1, 0) == at ? 0 : failure();
}
