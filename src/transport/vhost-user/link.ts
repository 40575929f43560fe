/**
 * The way to a vhost-user backend: connecting, noticing that it has gone, and connecting again.
 *
 * Nobody waits here with the whole thread for a backend that may not be up, or hangs.
 */
import { VhostUserError, type VirtioNetError } from '../../errors.js';
import type { Logger } from '../../log.js';
import type { UnixSocket } from '../../native/unix-socket.js';
import { Connection } from './connection.js';
import { isDisconnect } from './failures.js';
import { greet, type Greeting } from './greeting.js';
import type { Peers } from './peers.js';

/** Pauses before attempts to connect again, in milliseconds; the last one is repeated. */
const PAUSES = [0, 10, 20, 50, 100, 200, 500, 1000];
/** A connection that lasted as long, in milliseconds, was no failed attempt. */
const LASTING_MS = 200;

export interface LinkParts {
  readonly peers: Peers;
  readonly name: string;
  /** For each request, in milliseconds. */
  readonly timeout: number;
  readonly reconnect: boolean;
  readonly log: Logger;
}

/** Called on the event loop, never inside another call. */
export interface LinkHooks {
  /** The backend has gone, or does not keep to the protocol. */
  lost(error: VirtioNetError): void;
  /** There is a new connection, on which nothing was said yet but the greeting. */
  restored(): void;
}

/** A connection with what the backend has told of itself. */
interface Session {
  readonly socket: UnixSocket;
  readonly connection: Connection;
  readonly greeting: Greeting;
}

export class Link {
  hooks: LinkHooks | undefined;
  readonly #parts: LinkParts;
  readonly #ending = new AbortController();
  #session: Session;
  /** Why there is no connection now. */
  #lost: VirtioNetError | undefined;
  #keepAlive = false;
  /** Runs while there is a pause between two attempts to connect. */
  #pause: NodeJS.Timeout | undefined;
  /** How many attempts to connect again there were since a connection has lasted. */
  #attempts = 0;
  /** When there was a connection again, on the clock of `performance.now()`. */
  #since = 0;

  private constructor(parts: LinkParts, session: Session) {
    this.#parts = parts;
    this.#session = session;
    this.#watch();
  }

  /**
   * Waits for a backend, and greets it.
   *
   * @throws VhostUserError, and the reason of the signal; the peers are closed then
   */
  static async open(parts: LinkParts, signal: AbortSignal | undefined): Promise<Link> {
    try {
      return new Link(parts, await firstSession(parts, signal));
    } catch (error) {
      parts.peers.close();
      throw error;
    }
  }

  get greeting(): Greeting {
    return this.#session.greeting;
  }

  /** Why there is no connection, where there is none. */
  get lost(): VirtioNetError | undefined {
    return this.#lost;
  }

  /**
   * Talks to the backend.
   *
   * @throws VhostUserError where there is no connection, and what `talk` throws
   */
  use<T>(talk: (connection: Connection, greeting: Greeting) => T): T {
    if (this.#lost !== undefined) throw this.#lost;
    const { connection, greeting } = this.#session;
    try {
      return talk(connection, greeting);
    } finally {
      if (connection.failure !== undefined) this.#lose(connection.failure);
    }
  }

  /** Whether waiting for the backend keeps the event loop alive; false at first. */
  setKeepAlive(keepAlive: boolean): void {
    this.#keepAlive = keepAlive;
    if (this.#lost === undefined) this.#session.socket.setKeepAlive(keepAlive);
    this.#parts.peers.setKeepAlive(keepAlive);
    if (keepAlive) this.#pause?.ref();
    else this.#pause?.unref();
  }

  /** Ends the connection, and all attempts to have another one. Calling it again does nothing. */
  close(): void {
    this.#ending.abort();
    clearTimeout(this.#pause);
    this.hooks = undefined;
    this.#session.connection.close();
    this.#lost ??= new VhostUserError('VHOST_USER_DISCONNECTED', `${this.#parts.name} was closed`);
    this.#parts.peers.close();
  }

  #watch(): void {
    const { socket, connection } = this.#session;
    const look = (): void => {
      connection.look();
      if (connection.failure !== undefined) this.#lose(connection.failure);
    };
    socket.listen(look, this.#keepAlive);
  }

  #lose(error: VirtioNetError): void {
    if (this.#lost !== undefined) return;
    this.#lost = error;
    const { log, name, reconnect } = this.#parts;
    log.warn({ device: name, err: error, reconnect }, 'vhost-user backend has gone');
    // Whoever is talking to it right now learns of it by the error.
    setImmediate(() => {
      if (this.#ending.signal.aborted) return;
      this.hooks?.lost(error);
      if (reconnect) void this.#restore();
    });
  }

  /** Whether it keeps the event loop alive can change meanwhile. */
  #sleep(duration: number): Promise<void> {
    return new Promise((resolve) => {
      this.#pause = setTimeout(resolve, duration);
      if (!this.#keepAlive) this.#pause.unref();
    });
  }

  /**
   * A backend that goes as soon as it is there, as one that crashes on what it is given, is tried at the same intervals as
   * one that is not there.
   */
  async #restore(): Promise<void> {
    const { log, name } = this.#parts;
    const { signal } = this.#ending;
    if (performance.now() - this.#since >= LASTING_MS) this.#attempts = 0;
    while (!signal.aborted) {
      const pause = PAUSES[Math.min(this.#attempts, PAUSES.length - 1)];
      this.#attempts += 1;
      if (pause > 0) await this.#sleep(pause);
      if (await this.#reconnect()) {
        log.info({ device: name }, 'vhost-user backend is back');
        this.hooks?.restored();
        return;
      }
    }
  }

  /** Says whether there is a connection. */
  async #reconnect(): Promise<boolean> {
    const { peers, log, name } = this.#parts;
    const { signal } = this.#ending;
    try {
      const session = await beginSession(await peers.next(signal, true), this.#parts, signal);
      if (signal.aborted) {
        session.connection.close();
        return false;
      }
      this.#session = session;
      this.#lost = undefined;
      this.#since = performance.now();
      this.#watch();
      return true;
    } catch (error) {
      log.debug({ device: name, err: error, attempt: this.#attempts }, 'vhost-user backend is not back yet');
      return false;
    }
  }
}

/** Whoever has connected to a socket of ours may have done so only to see whether somebody listens. */
async function firstSession(parts: LinkParts, signal: AbortSignal | undefined): Promise<Session> {
  const { peers, name, log } = parts;
  for (;;) {
    const socket = await peers.next(signal, false);
    try {
      return await beginSession(socket, parts, signal);
    } catch (error) {
      if (!peers.areComing || !isDisconnect(error)) throw error;
      log.warn({ device: name, err: error }, 'who had connected is gone; another backend is waited for');
    }
  }
}

/** Has the backend say what it is; the socket is closed where that fails. */
async function beginSession(
  socket: UnixSocket,
  { name, timeout }: LinkParts,
  signal: AbortSignal | undefined,
): Promise<Session> {
  const connection = new Connection(socket, name, timeout);
  try {
    const greeting = await greet(connection, name, () => readable(socket, timeout, signal));
    return { socket, connection, greeting };
  } catch (error) {
    connection.close();
    throw error;
  }
}

/** Waits until there is something to read, or the time is over, which shows when it is read. */
function readable(socket: UnixSocket, timeout: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      socket.unlisten();
      settle();
    };
    const onAbort = (): void => finish(() => reject(signal?.reason as Error));
    const timer = setTimeout(() => finish(resolve), timeout);
    signal?.addEventListener('abort', onAbort);
    socket.listen(() => finish(resolve), true);
    if (signal?.aborted === true) onAbort();
  });
}
