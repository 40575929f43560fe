/** UNIX stream sockets that carry file descriptors, driven without the event loop. */
import { callFailed, checked, ERRNO } from './errno.js';
import { adoptFd, closeFd } from './file-descriptor.js';
import { EventPoll } from './node-functions.js';
import { shim } from './shim.js';

/** A path may be so long, in bytes, with the zero byte behind it. */
export const LONGEST_SOCKET_PATH = 107;
/** The kernel passes more, but nobody here needs them. */
const MOST_FDS = 16;

/** What waiting for a socket came to, or why a call did nothing. */
export type SocketState = 'ready' | 'timeout';

/** A file that can be waited for on the event loop. */
abstract class Waitable {
  readonly fd: number;
  #poll: EventPoll | undefined;
  #open = true;

  protected constructor(fd: number) {
    this.fd = fd;
  }

  /** Calls `handler` on the event loop as long as there is something to take, until {@link unlisten}. */
  listen(handler: () => void, keepAlive: boolean): void {
    this.requireOpen();
    this.unlisten();
    this.#poll = new EventPoll(this.fd, handler, 'socket');
    this.#poll.setKeepAlive(keepAlive);
  }

  unlisten(): void {
    this.#poll?.close();
    this.#poll = undefined;
  }

  setKeepAlive(keepAlive: boolean): void {
    this.#poll?.setKeepAlive(keepAlive);
  }

  /** Calling it again does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.unlisten();
    closeFd(this.fd);
  }

  protected requireOpen(): void {
    if (!this.#open) throw new RangeError('The socket is closed');
  }
}

/** A connected socket. */
export class UnixSocket extends Waitable {
  readonly #fds = new Int32Array(MOST_FDS);

  /** @param fd - is the socket's own from then on */
  constructor(fd: number) {
    super(adoptFd(fd));
  }

  /** @throws NativeError NATIVE_CALL_FAILED: ENOENT, ECONNREFUSED, EACCES, EAGAIN where the listener is too busy */
  static connect(path: string): UnixSocket {
    return new UnixSocket(checked(`connect to ${path}`, shim().socket_connect(path)));
  }

  /**
   * Sends bytes, the file descriptors with the first of them; those stay the caller's.
   *
   * @returns how many bytes were sent; 0 where the socket is full
   * @throws NativeError NATIVE_CALL_FAILED, with EPIPE or ECONNRESET where the peer has gone
   */
  send(bytes: Uint8Array, fds: readonly number[] = []): number {
    this.requireOpen();
    const result = shim().socket_send(
      this.fd,
      bytes,
      bytes.length,
      Int32Array.from([...fds, -1]),
      fds.length,
    );
    return result === -ERRNO.EAGAIN || result === -ERRNO.EINTR ? 0 : checked('sendmsg', result);
  }

  /**
   * Receives up to `bytes.length` bytes.
   *
   * @param fds - file descriptors that came with them are appended: they are the caller's then
   * @returns how many; 0 where the peer has closed, undefined where there are none yet
   * @throws NativeError NATIVE_CALL_FAILED, with ECONNRESET where the peer has gone
   */
  receive(bytes: Uint8Array, fds: number[]): number | undefined {
    this.requireOpen();
    const result = shim().socket_receive(this.fd, bytes, bytes.length, this.#fds, MOST_FDS);
    if (result === -ERRNO.EAGAIN || result === -ERRNO.EINTR) return undefined;
    if (result >= 0) for (const fd of this.#fds) if (fd >= 0) fds.push(fd);
    return checked('recvmsg', result);
  }

  /**
   * Waits, with the whole thread, until the socket can be read or written.
   *
   * @param deadline - until when, on the clock of `performance.now()`
   */
  wait(what: 'readable' | 'writable', deadline: number): SocketState {
    this.requireOpen();
    for (;;) {
      const left = Math.max(0, Math.ceil(deadline - performance.now()));
      const result = shim().socket_wait(this.fd, what === 'writable' ? 1 : 0, left);
      if (result > 0) return 'ready';
      if (result !== 0 && result !== -ERRNO.EINTR) throw callFailed('poll of a socket', -result);
      if (left === 0) return 'timeout';
    }
  }
}

/** A socket that others connect to. Its file can be used by its owner only. */
export class UnixListener extends Waitable {
  private constructor(fd: number) {
    super(adoptFd(fd));
  }

  /** @throws NativeError NATIVE_CALL_FAILED: EADDRINUSE where there is a file already, EACCES, ENOENT */
  static create(path: string): UnixListener {
    return new UnixListener(checked(`bind to ${path}`, shim().socket_listen(path)));
  }

  /** The next one that has connected; undefined where there is none. */
  accept(): UnixSocket | undefined {
    this.requireOpen();
    const result = shim().socket_accept(this.fd);
    if (result === -ERRNO.EAGAIN || result === -ERRNO.EINTR || result === -ERRNO.ECONNABORTED)
      return undefined;
    return new UnixSocket(checked('accept', result));
  }
}
