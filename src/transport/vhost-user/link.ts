/**
 * The way to a vhost-user backend: connecting, noticing that it has gone, and connecting again.
 *
 * Nobody waits here with the whole thread for a backend that may not be there: only once it has answered the first
 * request are further ones put to it and waited for.
 */
import { VhostUserError, type VirtioNetError } from '../../errors.js';
import type { Logger } from '../../log.js';
import type { UnixSocket } from '../../native/unix-socket.js';
import { Connection } from './connection.js';
import { beginGreeting, finishGreeting, type Greeting } from './greeting.js';
import type { Peers } from './peers.js';

/** Pauses between attempts to connect again, in milliseconds; the last one is repeated. */
const PAUSES = [10, 20, 50, 100, 200, 500, 1000];

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
  /** Goes up with each connection. */
  generation = 0;
  readonly #parts: LinkParts;
  readonly #ending = new AbortController();
  #session: Session;
  /** Why there is no connection now. */
  #lost: VirtioNetError | undefined;
  #keepAlive = false;
  /** Runs while there is a pause between two attempts to connect. */
  #pause: NodeJS.Timeout | undefined;

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
      const socket = await parts.peers.next(signal, false);
      return new Link(parts, await greet(socket, parts, signal));
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
    this.generation += 1;
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

  async #restore(): Promise<void> {
    const { peers, log, name } = this.#parts;
    const { signal } = this.#ending;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      try {
        const socket = await peers.next(signal, true);
        this.#session = await greet(socket, this.#parts, signal);
        this.#lost = undefined;
        this.#watch();
        log.info({ device: name }, 'vhost-user backend is back');
        this.hooks?.restored();
        return;
      } catch (error) {
        log.debug({ device: name, err: error, attempt }, 'vhost-user backend is not back yet');
      }
      await this.#sleep(PAUSES[Math.min(attempt, PAUSES.length - 1)]);
    }
  }
}

/** Has the backend say what it is; the socket is closed where that fails. */
async function greet(
  socket: UnixSocket,
  { name, timeout }: LinkParts,
  signal: AbortSignal | undefined,
): Promise<Session> {
  const connection = new Connection(socket, name, timeout);
  try {
    beginGreeting(connection);
    await readable(socket, timeout, signal);
    return { socket, connection, greeting: finishGreeting(connection, name) };
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
