/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "virtio-net-shim.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

/* More vectors than MSI-X can have. */
#define MAX_VECTORS 2048u

static int64_t result_of(int result) { return result >= 0 ? result : -(int64_t)errno; }

int64_t vn_vfio_api_version(int32_t container) { return result_of(ioctl(container, VFIO_GET_API_VERSION)); }

int64_t vn_vfio_check_extension(int32_t container, uint32_t extension)
{
    return result_of(ioctl(container, VFIO_CHECK_EXTENSION, (unsigned long)extension));
}

int64_t vn_vfio_set_iommu(int32_t container, uint32_t type)
{
    return result_of(ioctl(container, VFIO_SET_IOMMU, (unsigned long)type));
}

/* All info structures begin with argsz, in and out; `index` is the third word of those that have one. */
static int64_t get_info(int fd, unsigned long request, void *info, uint32_t size, uint32_t least, int64_t index)
{
    uint32_t argsz;

    if (info == NULL || size < least)
        return -EINVAL;
    memset(info, 0, size);
    memcpy(info, &size, sizeof(size));
    if (index >= 0) {
        uint32_t word = (uint32_t)index;
        memcpy((char *)info + 2 * sizeof(uint32_t), &word, sizeof(word));
    }
    if (ioctl(fd, request, info) < 0)
        return -(int64_t)errno;
    memcpy(&argsz, info, sizeof(argsz));
    return argsz;
}

_Static_assert(offsetof(struct vfio_region_info, index) == 2 * sizeof(uint32_t), "index is the third word");
_Static_assert(offsetof(struct vfio_irq_info, index) == 2 * sizeof(uint32_t), "index is the third word");

int64_t vn_vfio_iommu_info(int32_t container, void *info, uint32_t size)
{
    /* A kernel from before 5.7 has no cap_offset and writes less; what it leaves out stays 0. */
    return get_info(container, VFIO_IOMMU_GET_INFO, info, size, sizeof(struct vfio_iommu_type1_info), -1);
}

int64_t vn_vfio_map_dma(int32_t container, uint64_t address, uint64_t iova, uint64_t size)
{
    struct vfio_iommu_type1_dma_map map = {
        .argsz = sizeof(map),
        .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
        .vaddr = address,
        .iova = iova,
        .size = size,
    };

    if (address == 0 || size == 0)
        return -EINVAL;
    return result_of(ioctl(container, VFIO_IOMMU_MAP_DMA, &map));
}

int64_t vn_vfio_unmap_dma(int32_t container, uint64_t iova, uint64_t size)
{
    struct vfio_iommu_type1_dma_unmap unmap = { .argsz = sizeof(unmap), .iova = iova, .size = size };

    if (ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) < 0)
        return -(int64_t)errno;
    return (int64_t)unmap.size;
}

int64_t vn_vfio_group_status(int32_t group)
{
    struct vfio_group_status status = { .argsz = sizeof(status) };

    if (ioctl(group, VFIO_GROUP_GET_STATUS, &status) < 0)
        return -(int64_t)errno;
    return status.flags;
}

int64_t vn_vfio_group_attach(int32_t group, int32_t container)
{
    return result_of(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
}

int64_t vn_vfio_group_detach(int32_t group) { return result_of(ioctl(group, VFIO_GROUP_UNSET_CONTAINER)); }

int64_t vn_vfio_device_fd(int32_t group, const char *name)
{
    if (name == NULL)
        return -EINVAL;
    return result_of(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name));
}

int64_t vn_vfio_device_info(int32_t device, void *info, uint32_t size)
{
    return get_info(device, VFIO_DEVICE_GET_INFO, info, size, sizeof(struct vfio_device_info), -1);
}

int64_t vn_vfio_region_info(int32_t device, uint32_t index, void *info, uint32_t size)
{
    return get_info(device, VFIO_DEVICE_GET_REGION_INFO, info, size, sizeof(struct vfio_region_info), index);
}

int64_t vn_vfio_irq_info(int32_t device, uint32_t index, void *info, uint32_t size)
{
    return get_info(device, VFIO_DEVICE_GET_IRQ_INFO, info, size, sizeof(struct vfio_irq_info), index);
}

static int64_t set_irqs(int device, uint32_t index, uint32_t flags, const int32_t *fds, uint32_t count)
{
    /* On the stack, which koffi makes 1 MiB large: the shim calls no allocator. */
    union {
        struct vfio_irq_set set;
        char room[sizeof(struct vfio_irq_set) + MAX_VECTORS * sizeof(int32_t)];
    } request;
    size_t bytes = fds != NULL ? count * sizeof(int32_t) : 0;

    request.set = (struct vfio_irq_set){
        .argsz = (uint32_t)(sizeof(struct vfio_irq_set) + bytes),
        .flags = flags,
        .index = index,
        .start = 0,
        .count = count,
    };
    if (bytes > 0)
        memcpy(request.room + sizeof(struct vfio_irq_set), fds, bytes);
    return result_of(ioctl(device, VFIO_DEVICE_SET_IRQS, &request));
}

int64_t vn_vfio_irq_enable(int32_t device, uint32_t index, const int32_t *fds, uint32_t count)
{
    if (fds == NULL || count == 0 || count > MAX_VECTORS)
        return -EINVAL;
    return set_irqs(device, index, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, fds, count);
}

int64_t vn_vfio_irq_disable(int32_t device, uint32_t index)
{
    return set_irqs(device, index, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, NULL, 0);
}

int64_t vn_vfio_irq_mask(int32_t device, uint32_t index)
{
    return set_irqs(device, index, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, NULL, 1);
}

int64_t vn_vfio_irq_unmask(int32_t device, uint32_t index)
{
    return set_irqs(device, index, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, NULL, 1);
}

int64_t vn_vfio_device_reset(int32_t device) { return result_of(ioctl(device, VFIO_DEVICE_RESET)); }
