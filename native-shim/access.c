/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "virtio-net-shim.h"

#include <errno.h>
#include <unistd.h>

/*
 * Orders accesses to shared memory and to device registers among each other: a doorbell must not overtake
 * the ring entries that it announces, nor ring reads overtake the register read that allowed them. A device
 * is outside of the inner-shareable domain of arm64, which is all that C's own fence covers there.
 */
static inline void device_barrier(void)
{
#if defined(__aarch64__)
    __asm__ volatile("dmb osh" ::: "memory");
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

static inline int usable(uint64_t address, uint64_t width)
{
    return address != 0 && (address & (width - 1)) == 0;
}

#define MMIO(bits)                                                                                                     \
    int64_t vn_mmio_read##bits(uint64_t address)                                                                       \
    {                                                                                                                  \
        if (!usable(address, (bits) / 8))                                                                              \
            return -EINVAL;                                                                                            \
        uint##bits##_t value = *(const volatile uint##bits##_t *)(uintptr_t)address;                                   \
        device_barrier();                                                                                              \
        return value;                                                                                                  \
    }                                                                                                                  \
    int64_t vn_mmio_write##bits(uint64_t address, uint32_t value)                                                      \
    {                                                                                                                  \
        if (!usable(address, (bits) / 8))                                                                              \
            return -EINVAL;                                                                                            \
        device_barrier();                                                                                              \
        *(volatile uint##bits##_t *)(uintptr_t)address = (uint##bits##_t)value;                                        \
        return 0;                                                                                                      \
    }

MMIO(8)
MMIO(16)
MMIO(32)

static inline int is_width(uint32_t width) { return width == 1 || width == 2 || width == 4; }

/* PCI is little-endian, and so are the two architectures that the shim is built for. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "little-endian only");

int64_t vn_region_read(int32_t fd, uint64_t offset, uint32_t width)
{
    uint32_t value = 0;

    if (!is_width(width) || offset > INT64_MAX)
        return -EINVAL;
    ssize_t n = pread(fd, &value, width, (off_t)offset);
    if (n < 0)
        return -(int64_t)errno;
    if ((size_t)n != width)
        return -EIO;
    device_barrier();
    return value;
}

int64_t vn_region_write(int32_t fd, uint64_t offset, uint32_t width, uint32_t value)
{
    if (!is_width(width) || offset > INT64_MAX)
        return -EINVAL;
    device_barrier();
    ssize_t n = pwrite(fd, &value, width, (off_t)offset);
    if (n < 0)
        return -(int64_t)errno;
    return (size_t)n == width ? 0 : -EIO;
}
