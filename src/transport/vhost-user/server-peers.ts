/** A socket of ours, to which the backend connects. */
import { lstatSync, unlinkSync, type Stats } from 'node:fs';
import { VhostUserError } from '../../errors.js';
import { ERRNO, errnoOf } from '../../native/errno.js';
import { UnixListener, UnixSocket } from '../../native/unix-socket.js';
import type { Peers } from './peers.js';

export class ServerPeers implements Peers {
  readonly areComing = true;
  readonly #path: string;
  readonly #listener: UnixListener;
  /** What was made, so that nothing else is removed. */
  readonly #file: Stats;
  #keepAlive = true;
  #open = true;

  private constructor(path: string, listener: UnixListener) {
    this.#path = path;
    this.#listener = listener;
    this.#file = lstatSync(path);
  }

  /**
   * Makes the socket, for its owner alone. One that an earlier program has left is removed: a socket of the same user on
   * which nobody listens any more.
   *
   * @throws VhostUserError VHOST_USER_SOCKET_FAILED
   */
  static create(path: string): ServerPeers {
    removeStale(path);
    const listener = listen(path);
    try {
      return new ServerPeers(path, listener);
    } catch (error) {
      listener.close();
      throw error;
    }
  }

  /** Waits without an end: it is for the program to say how long, by its signal. */
  next(signal: AbortSignal | undefined, again: boolean): Promise<UnixSocket> {
    const keepAlive = again ? this.#keepAlive : true;
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void): void => {
        signal?.removeEventListener('abort', onAbort);
        if (this.#open) this.#listener.unlisten();
        settle();
      };
      const onAbort = (): void => finish(() => reject(signal?.reason as Error));
      const onReady = (): void => {
        try {
          const socket = this.#listener.accept();
          if (socket !== undefined) finish(() => resolve(socket));
        } catch (error) {
          finish(() => reject(acceptFailed(this.#path, error)));
        }
      };
      signal?.addEventListener('abort', onAbort);
      this.#listener.listen(onReady, keepAlive);
      if (signal?.aborted === true) onAbort();
    });
  }

  setKeepAlive(keepAlive: boolean): void {
    this.#keepAlive = keepAlive;
    this.#listener.setKeepAlive(keepAlive);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    try {
      const file = lstatSync(this.#path, { throwIfNoEntry: false });
      // Somebody may have put another one there.
      if (file?.ino === this.#file.ino && file.dev === this.#file.dev) unlinkSync(this.#path);
    } finally {
      this.#listener.close();
    }
  }
}

function removeStale(path: string): void {
  const file = look(path);
  if (file === undefined) return;
  // Not followed, if it is a link: it could lead anywhere.
  if (!file.isSocket()) throw inUse(path, 'something else than a socket is there', 'Give another path.');
  if (file.uid !== process.getuid?.()) {
    throw inUse(path, 'the socket there is another user’s', 'Give another path, or remove it.');
  }
  if (isAlive(path)) {
    throw inUse(path, 'another program listens there', 'Give another path, or end that program.');
  }
  try {
    unlinkSync(path);
  } catch (cause) {
    throw listenFailed(path, 'what an earlier program has left there can not be removed', cause);
  }
}

function look(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (cause) {
    throw listenFailed(path, 'the folder can not be used', cause);
  }
}

/** Whether somebody listens. Whoever does sees a connection that ends at once. */
function isAlive(path: string): boolean {
  try {
    UnixSocket.connect(path).close();
    return true;
  } catch (error) {
    return errnoOf(error) !== ERRNO.ECONNREFUSED;
  }
}

function listen(path: string): UnixListener {
  try {
    return UnixListener.create(path);
  } catch (cause) {
    throw listenFailed(path, 'the socket can not be made', cause);
  }
}

function inUse(path: string, what: string, remedy: string): VhostUserError {
  return new VhostUserError(
    'VHOST_USER_SOCKET_FAILED',
    `vhost-user:${path} can not be listened at: ${what}`,
    {
      remedy,
      syscall: 'bind',
      errno: ERRNO.EADDRINUSE,
    },
  );
}

function listenFailed(path: string, what: string, cause: unknown): VhostUserError {
  return new VhostUserError(
    'VHOST_USER_SOCKET_FAILED',
    `vhost-user:${path} can not be listened at: ${what}`,
    {
      remedy: 'Give a path in a folder that exists and that this user may write to.',
      syscall: 'bind',
      errno: errnoOf(cause),
      cause,
    },
  );
}

function acceptFailed(path: string, cause: unknown): VhostUserError {
  const what = `The connection of a backend at vhost-user:${path} can not be taken`;
  return new VhostUserError('VHOST_USER_SOCKET_FAILED', what, {
    syscall: 'accept',
    errno: errnoOf(cause),
    cause,
  });
}
