/* SPDX-License-Identifier: MIT */
/*
 * The native shim: what JavaScript can not do, and nothing that it can.
 *
 * Every function but vn_abi_version() returns a value that is zero or positive, or a negated errno. The
 * errno travels in the result because the C variable may be overwritten before a foreign-function caller
 * reads it. Addresses are passed as integers: user addresses have at most 52 bits, which a JavaScript
 * number holds exactly.
 */
#ifndef VIRTIO_NET_SHIM_H
#define VIRTIO_NET_SHIM_H

#include <stdint.h>

/* Raised whenever a function changes; src/native/shim.ts names the one it needs. */
#define VN_ABI_VERSION 5

#define VN_API __attribute__((visibility("default")))

VN_API uint32_t vn_abi_version(void);

/* fd.c: file descriptors that were not opened by Node. */
VN_API int64_t vn_close(int32_t fd);
VN_API int64_t vn_eventfd_create(void);
/* Adds 1 to the counter. */
VN_API int64_t vn_eventfd_signal(int32_t fd);
/* Reads the counter, which sets it to 0; 0 where it was 0. */
VN_API int64_t vn_eventfd_drain(int32_t fd);

/* memory.c: mappings. */
#define VN_MEMORY_LOCKED 1u
#define VN_MEMORY_HUGE_2M 2u
#define VN_MEMORY_HUGE_1G 4u

VN_API int64_t vn_page_size(void);
/* Zeroed, populated, shared anonymous memory; returns its address. */
VN_API int64_t vn_memory_allocate(uint64_t size, uint32_t flags);
/* Maps a file (a device region, a memfd) shared; returns the address. */
VN_API int64_t vn_memory_map(int32_t fd, uint64_t offset, uint64_t size, uint32_t writable);
/* A file in memory of a fixed size, to share with another process; nothing of it is allocated yet. Returns its fd. */
VN_API int64_t vn_memory_file_create(uint64_t size, uint32_t flags);
/* Maps the whole file; a forked child does not inherit the mapping. Returns the address. */
VN_API int64_t vn_memory_file_map(int32_t fd, uint64_t size);
/* Allocates zeroed memory for a part of the file that is mapped at the address. */
VN_API int64_t vn_memory_file_populate(int32_t fd, uint64_t address, uint64_t offset, uint64_t size);
VN_API int64_t vn_memory_unmap(uint64_t address, uint64_t size);
/* Puts private zero pages in the place of a mapping, so that a stale access is harmless. */
VN_API int64_t vn_memory_retire(uint64_t address, uint64_t size);
/*
 * Keeps memory at its place in the machine until vn_memory_unpin(), which takes the file descriptor that this
 * returns; so does closing that. mlock() would not do: locked pages may still move.
 */
VN_API int64_t vn_memory_pin(uint64_t address, uint64_t size);
VN_API int64_t vn_memory_unpin(int32_t fd);

/* access.c: device registers, with exactly the given width. */
VN_API int64_t vn_mmio_read8(uint64_t address);
VN_API int64_t vn_mmio_read16(uint64_t address);
VN_API int64_t vn_mmio_read32(uint64_t address);
VN_API int64_t vn_mmio_write8(uint64_t address, uint32_t value);
VN_API int64_t vn_mmio_write16(uint64_t address, uint32_t value);
VN_API int64_t vn_mmio_write32(uint64_t address, uint32_t value);
/* One pread/pwrite of 1, 2 or 4 bytes: -EIO where it comes back short. */
VN_API int64_t vn_region_read(int32_t fd, uint64_t offset, uint32_t width);
VN_API int64_t vn_region_write(int32_t fd, uint64_t offset, uint32_t width, uint32_t value);

/* vfio.c: one function for each ioctl of <linux/vfio.h> that is needed. */
VN_API int64_t vn_vfio_api_version(int32_t container);
VN_API int64_t vn_vfio_check_extension(int32_t container, uint32_t extension);
VN_API int64_t vn_vfio_set_iommu(int32_t container, uint32_t type);
/*
 * The info calls fill a buffer of `size` bytes with the kernel's structure and its capability chain, and
 * return the size that all of it needs (argsz): where that is more than `size`, call again with so much.
 */
VN_API int64_t vn_vfio_iommu_info(int32_t container, void *info, uint32_t size);
VN_API int64_t vn_vfio_map_dma(int32_t container, uint64_t address, uint64_t iova, uint64_t size);
/* Returns the number of bytes that were unmapped. */
VN_API int64_t vn_vfio_unmap_dma(int32_t container, uint64_t iova, uint64_t size);
/* Returns the status flags. */
VN_API int64_t vn_vfio_group_status(int32_t group);
VN_API int64_t vn_vfio_group_attach(int32_t group, int32_t container);
VN_API int64_t vn_vfio_group_detach(int32_t group);
VN_API int64_t vn_vfio_device_fd(int32_t group, const char *name);
VN_API int64_t vn_vfio_device_info(int32_t device, void *info, uint32_t size);
VN_API int64_t vn_vfio_region_info(int32_t device, uint32_t index, void *info, uint32_t size);
VN_API int64_t vn_vfio_irq_info(int32_t device, uint32_t index, void *info, uint32_t size);
/* Routes vectors 0 to count - 1 to the eventfds; a positive result is the number of vectors there is room for. */
VN_API int64_t vn_vfio_irq_enable(int32_t device, uint32_t index, const int32_t *fds, uint32_t count);
VN_API int64_t vn_vfio_irq_disable(int32_t device, uint32_t index);
VN_API int64_t vn_vfio_irq_mask(int32_t device, uint32_t index);
VN_API int64_t vn_vfio_irq_unmask(int32_t device, uint32_t index);
VN_API int64_t vn_vfio_device_reset(int32_t device);

/* socket.c: UNIX stream sockets that carry file descriptors. Each returned fd is non-blocking. */
VN_API int64_t vn_socket_connect(const char *path);
/* The file of the socket is its owner's alone (mode 0600). */
VN_API int64_t vn_socket_listen(const char *path);
VN_API int64_t vn_socket_accept(int32_t fd);
/* Returns how many bytes were sent; the file descriptors go with the first of them. */
VN_API int64_t vn_socket_send(int32_t fd, const void *data, uint32_t size, const int32_t *fds, uint32_t count);
/* Returns how many bytes were received, 0 at the end; puts descriptors that came with them into fds, and -1 behind. */
VN_API int64_t vn_socket_receive(int32_t fd, void *data, uint32_t size, int32_t *fds, uint32_t room);
/* Waits until it can be read or written, or has ended, or the time in milliseconds is over, which returns 0. */
VN_API int64_t vn_socket_wait(int32_t fd, uint32_t writable, int32_t timeout);

/* node-api.c: what needs JavaScript values. */
/*
 * Sets Function[name] to an object with the functions of node-api.h. -ENOSYS where the process is not Node.
 */
VN_API int64_t vn_install(void *env, const char *name);

#endif
