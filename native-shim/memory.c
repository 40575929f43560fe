/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "virtio-net-shim.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif
#ifndef MFD_HUGETLB
#define MFD_HUGETLB 4u
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

int64_t vn_memory_file_create(uint64_t size, uint32_t flags)
{
    unsigned int how = MFD_CLOEXEC | MFD_ALLOW_SEALING;

    if (size == 0 || size > INT64_MAX || (flags & ~(VN_MEMORY_HUGE_2M | VN_MEMORY_HUGE_1G)) != 0)
        return -EINVAL;
    if ((flags & VN_MEMORY_HUGE_1G) != 0)
        how |= MFD_HUGETLB | (30u << MAP_HUGE_SHIFT);
    else if ((flags & VN_MEMORY_HUGE_2M) != 0)
        how |= MFD_HUGETLB | (21u << MAP_HUGE_SHIFT);
    int fd = (int)syscall(__NR_memfd_create, "virtio-net", how);
    if (fd < 0)
        return failure();
    /* Whoever is given the file could shrink it otherwise, and the next access here would be a SIGBUS. */
    if (ftruncate(fd, (off_t)size) != 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        int64_t result = failure();
        close(fd);
        return result;
    }
    return fd;
}

int64_t vn_memory_file_map(int32_t fd, uint64_t size)
{
    if (size == 0)
        return -EINVAL;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return failure();
    if (madvise(memory, size, MADV_DONTFORK) != 0) {
        int64_t result = failure();
        munmap(memory, size);
        return result;
    }
    return (int64_t)(uintptr_t)memory;
}

int64_t vn_memory_file_populate(int32_t fd, uint64_t address, uint64_t offset, uint64_t size)
{
    if (address == 0 || size == 0 || offset > INT64_MAX || size > INT64_MAX)
        return -EINVAL;
    /* Says where there is no memory, which a touch would answer with SIGBUS. */
    while (fallocate(fd, 0, (off_t)offset, (off_t)size) != 0)
        if (errno != EINTR)
            return failure();
    /* Only saves faults later on; kernels before 5.14 do not know it. */
    madvise((void *)(uintptr_t)(address + offset), size, MADV_POPULATE_WRITE);
    return 0;
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
