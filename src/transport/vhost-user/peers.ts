/** Where connections to a backend come from: this side connects, or the backend does. */
import { statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { VhostUserError } from '../../errors.js';
import { ERRNO, errnoOf } from '../../native/errno.js';
import { UnixSocket } from '../../native/unix-socket.js';

export interface Peers {
  /** Whether it is the backend that connects, so that after one there may come another. */
  readonly areComing: boolean;
  /**
   * The next connection.
   *
   * @param again - whether there was one before: then one that can not be had yet is no reason to hurry
   * @throws VhostUserError VHOST_USER_SOCKET_FAILED; the reason of the signal
   */
  next(signal: AbortSignal | undefined, again: boolean): Promise<UnixSocket>;
  /** Whether waiting for one keeps the event loop alive, where that is not the caller's to decide. */
  setKeepAlive(keepAlive: boolean): void;
  /** Calling it again does nothing. */
  close(): void;
}

/** How often a backend is tried that has more connections waiting than it takes, in milliseconds, and how long. */
const TRY_EVERY_MS = 20;
const TRIES = 50;

/** Connects to a socket that the backend has made. */
export class ClientPeers implements Peers {
  readonly areComing = false;
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  async next(signal: AbortSignal | undefined): Promise<UnixSocket> {
    for (let left = TRIES; ; left -= 1) {
      signal?.throwIfAborted();
      try {
        return UnixSocket.connect(this.#path);
      } catch (error) {
        if (errnoOf(error) !== ERRNO.EAGAIN || left === 0) throw connectFailed(this.#path, error);
      }
      await sleep(TRY_EVERY_MS);
    }
  }

  setKeepAlive(): void {
    // Nothing is waited for here.
  }

  close(): void {
    // Nothing is open here.
  }
}

const ANOTHER_PATH = 'Give the path of the socket of a backend.';
const NO_SOCKET = ['what is there is no socket', ANOTHER_PATH] as const;
const NO_WAY = ['no path leads to a socket', ANOTHER_PATH] as const;

const REASONS = new Map<number | undefined, readonly [what: string, remedy: string]>([
  [
    ERRNO.ENOENT,
    ['there is no such file', 'Start the backend first, or give the path that it was started with.'],
  ],
  [
    ERRNO.ECONNREFUSED,
    ['nobody listens there', 'Start the backend: the file is what an earlier one has left.'],
  ],
  [
    ERRNO.EACCES,
    ['this user may not use it', 'Give the user the right to write to the socket (chown, chmod).'],
  ],
  [ERRNO.EPROTOTYPE, ['the socket there is of another kind', ANOTHER_PATH]],
  [ERRNO.ENOTDIR, NO_WAY],
  [ERRNO.ELOOP, NO_WAY],
  [ERRNO.EAGAIN, ['the backend takes no more connections', 'Close other connections to it, or restart it.']],
]);

function isNoSocket(path: string): boolean {
  try {
    return !statSync(path).isSocket();
  } catch {
    return false;
  }
}

function connectFailed(path: string, cause: unknown): VhostUserError {
  const errno = errnoOf(cause);
  // The kernel says the same of a file that is no socket as of a socket that nobody listens at.
  const isOther = errno === ERRNO.ECONNREFUSED && isNoSocket(path);
  const [what, remedy] = isOther ? NO_SOCKET : (REASONS.get(errno) ?? []);
  return new VhostUserError(
    'VHOST_USER_SOCKET_FAILED',
    `vhost-user:${path} can not be connected to${what === undefined ? '' : `: ${what}`}`,
    { remedy, syscall: 'connect', errno, cause },
  );
}
