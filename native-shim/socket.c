/* SPDX-License-Identifier: MIT */
/*
 * UNIX stream sockets that carry file descriptors, which Node's own do not. None of these calls waits, but
 * vn_socket_wait().
 */
#define _GNU_SOURCE
#include "virtio-net-shim.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_FDS 32u
#define OWNER_ONLY 0600

static int64_t result_of(int64_t result) { return result >= 0 ? result : -(int64_t)errno; }

/* Returns the length of the address, or a negated errno. */
static int64_t address_of(const char *path, struct sockaddr_un *address)
{
    size_t length = 0;

    if (path == NULL || path[0] == '\0')
        return -EINVAL;
    *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    while (path[length] != '\0') {
        if (length + 1 >= sizeof(address->sun_path))
            return -ENAMETOOLONG;
        address->sun_path[length] = path[length];
        length++;
    }
    return (int64_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
}

static int open_socket(void) { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }

static int64_t close_failed(int fd)
{
    int error = errno;

    close(fd);
    return -(int64_t)error;
}

int64_t vn_socket_connect(const char *path)
{
    struct sockaddr_un address;
    int64_t length = address_of(path, &address);

    if (length < 0)
        return length;
    int fd = open_socket();
    if (fd < 0)
        return -(int64_t)errno;
    if (connect(fd, (const struct sockaddr *)&address, (socklen_t)length) != 0)
        return close_failed(fd);
    return fd;
}

int64_t vn_socket_listen(const char *path)
{
    struct sockaddr_un address;
    int64_t length = address_of(path, &address);

    if (length < 0)
        return length;
    int fd = open_socket();
    if (fd < 0)
        return -(int64_t)errno;
    /* The file gets the mode that the socket has when it is bound, so that it never has another. */
    if (fchmod(fd, OWNER_ONLY) != 0 || bind(fd, (const struct sockaddr *)&address, (socklen_t)length) != 0)
        return close_failed(fd);
    if (listen(fd, 1) != 0) {
        int64_t result = close_failed(fd);
        unlink(path);
        return result;
    }
    return fd;
}

int64_t vn_socket_accept(int32_t fd)
{
    return result_of(accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

int64_t vn_socket_send(int32_t fd, const void *data, uint32_t size, const int32_t *fds, uint32_t count)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(MAX_FDS * sizeof(int32_t))];
    } control = { 0 };
    struct iovec part = { (void *)(uintptr_t)data, size };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

    if (data == NULL || size == 0 || count > MAX_FDS || (count > 0 && fds == NULL))
        return -EINVAL;
    if (count > 0) {
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(count * sizeof(int32_t));
        memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int32_t));
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int32_t));
    }
    return result_of(sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT));
}

int64_t vn_socket_receive(int32_t fd, void *data, uint32_t size, int32_t *fds, uint32_t room)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(MAX_FDS * sizeof(int32_t))];
    } control;
    struct iovec part = { data, size };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control };

    if (data == NULL || size == 0 || fds == NULL || room == 0 || room > MAX_FDS)
        return -EINVAL;
    /* The kernel closes what there is no room for. */
    message.msg_controllen = CMSG_LEN(room * sizeof(int32_t));
    for (uint32_t i = 0; i < room; i++)
        fds[i] = -1;
    int64_t received = result_of(recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
    if (received < 0)
        return received;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len >= CMSG_LEN(0) && header->cmsg_len <= CMSG_LEN(room * sizeof(int32_t)))
        memcpy(fds, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
    return received;
}

int64_t vn_socket_wait(int32_t fd, uint32_t writable, int32_t timeout)
{
    struct pollfd wanted = { .fd = fd, .events = writable != 0 ? POLLOUT : POLLIN };

    return result_of(poll(&wanted, 1, timeout));
}
