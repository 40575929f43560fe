/**
 * A connection to a vhost-user backend: one request after the other, each answered within a time.
 *
 * The backend is not trusted: whatever it sends that is no answer to the request ends the connection, as nobody could
 * tell what belongs to what from then on. File descriptors are closed: no answer that is asked for here brings any.
 */
import { VhostUserError, VirtioNetError } from '../../errors.js';
import { ERRNO, errnoOf } from '../../native/errno.js';
import { shim } from '../../native/shim.js';
import type { UnixSocket } from '../../native/unix-socket.js';
import {
  CONFIG_HEADER_SIZE,
  decodeState,
  decodeU64,
  encodeRequest,
  encodeState,
  encodeU64,
  faultOfAnswer,
  HEADER_SIZE,
  payloadSize,
  type RequestName,
} from './messages.js';

/** What is needed of a socket. */
export type MessageSocket = Pick<UnixSocket, 'send' | 'receive' | 'wait' | 'close'>;

const NOTHING = new Uint8Array(0);
/** What the peer of a socket that has gone is seen by. */
const GONE = new Set<number | undefined>([ERRNO.EPIPE, ERRNO.ECONNRESET, ERRNO.ENOTCONN]);

export class Connection {
  /** Whether the backend acknowledges every request that asks for it (REPLY_ACK). */
  acknowledged = false;
  readonly #socket: MessageSocket;
  readonly #name: string;
  readonly #timeout: number;
  #failure: VirtioNetError | undefined;
  /** Of the request that is under way, on the clock of `performance.now()`. */
  #deadline = 0;

  /**
   * @param socket - is the connection's own from then on
   * @param name - of the backend, for messages
   * @param timeout - for each request, in milliseconds
   */
  constructor(socket: MessageSocket, name: string, timeout: number) {
    this.#socket = socket;
    this.#name = name;
    this.#timeout = timeout;
  }

  /** Why the connection has ended, once it has. */
  get failure(): VirtioNetError | undefined {
    return this.#failure;
  }

  /**
   * Asks for a number of 64 bits.
   *
   * @throws VhostUserError VHOST_USER_DISCONNECTED, _TIMEOUT, _MESSAGE_INVALID, after which the connection has ended
   */
  get(name: RequestName): bigint {
    return decodeU64(this.#ask(name, NOTHING, 8, 8));
  }

  /**
   * Asks, but leaves the answer for {@link collect} or {@link collectConfig}, so that nobody waits for it here. Its time
   * runs from now on.
   */
  post(name: RequestName, payload: Uint8Array = NOTHING): void {
    this.#transact(name, () => this.#send(name, payload, [], false));
  }

  /** The answer to what {@link post} asked; what is not there yet is waited for with the whole thread. */
  collect(name: RequestName): bigint {
    return decodeU64(this.#finish(name, 8, 8));
  }

  /** Asks for a value of a queue; otherwise as {@link get}. */
  getState(name: RequestName, queue: number): number {
    const state = decodeState(this.#ask(name, encodeState(queue, 0), 8, 8));
    if (state.queue === queue) return state.value;
    throw this.#end(this.#invalid(name, `it answered for queue ${state.queue} in place of ${queue}`));
  }

  /**
   * As {@link collect}, for bytes of the configuration; undefined where the backend can not give them.
   *
   * @param request - what was asked, as `encodeConfig()` makes it
   */
  collectConfig(request: Uint8Array): Uint8Array | undefined {
    const answer = this.#finish('GET_CONFIG', 0, request.length);
    // An answer without content says that something went wrong.
    if (answer.length === 0) return undefined;
    if (answer.length === request.length) return answer.subarray(CONFIG_HEADER_SIZE);
    throw this.#end(this.#invalid('GET_CONFIG', `its answer has ${answer.length} bytes`));
  }

  /**
   * Tells the backend something. Where it acknowledges requests, waits for that.
   *
   * @param fds - of files that it is to get; they stay the caller's
   * @throws VhostUserError VHOST_USER_REFUSED, and as {@link get}
   */
  set(name: RequestName, payload: Uint8Array = NOTHING, fds: readonly number[] = []): void {
    if (!this.acknowledged) {
      this.#transact(name, () => this.#send(name, payload, fds, false));
      return;
    }
    const answer = this.#transact(name, () => {
      this.#send(name, payload, fds, true);
      return this.#receive(name, 8, 8);
    });
    const refusal = decodeU64(answer);
    if (refusal === 0n) return;
    throw new VhostUserError('VHOST_USER_REFUSED', `${this.#name} refused ${name} (${refusal})`);
  }

  /** As {@link set}, for a number of 64 bits. */
  setU64(name: RequestName, value: bigint): void {
    this.set(name, encodeU64(value));
  }

  /** As {@link set}, for a value of a queue. */
  setState(name: RequestName, queue: number, value: number): void {
    this.set(name, encodeState(queue, value));
  }

  /** Takes what came without having been asked for, which can only be the end, or a fault: ends the connection then. */
  look(): void {
    if (this.#failure !== undefined) return;
    const fds: number[] = [];
    try {
      const received = this.#socket.receive(new Uint8Array(HEADER_SIZE), fds);
      if (received === undefined) return;
      this.#end(received === 0 ? this.#closed() : this.#unasked());
    } catch (error) {
      this.#end(this.#explain(error));
    } finally {
      closeAll(fds);
    }
  }

  /** Ends the connection. Calling it again does nothing. */
  close(): void {
    this.#end(new VhostUserError('VHOST_USER_DISCONNECTED', `The connection to ${this.#name} was closed`));
  }

  #ask(name: RequestName, payload: Uint8Array, least: number, most: number): Uint8Array {
    return this.#transact(name, () => {
      this.#send(name, payload, [], false);
      return this.#receive(name, least, most);
    });
  }

  /** The second half of a transaction that {@link post} began. */
  #finish(name: RequestName, least: number, most: number): Uint8Array {
    return this.#attempt(name, () => this.#receive(name, least, most));
  }

  #transact<T>(name: RequestName, exchange: () => T): T {
    this.#deadline = performance.now() + this.#timeout;
    return this.#attempt(name, exchange);
  }

  #attempt<T>(name: RequestName, exchange: () => T): T {
    if (this.#failure !== undefined) throw this.#failure;
    try {
      return exchange();
    } catch (error) {
      throw this.#end(this.#explain(error, name));
    }
  }

  #send(name: RequestName, payload: Uint8Array, fds: readonly number[], needReply: boolean): void {
    const bytes = encodeRequest(name, payload, needReply);
    for (let done = 0; done < bytes.length;) {
      // The descriptors go with the first byte.
      const sent = this.#socket.send(bytes.subarray(done), done === 0 ? fds : []);
      if (sent === 0) this.#wait(name, 'writable');
      done += sent;
    }
  }

  #receive(name: RequestName, least: number, most: number): Uint8Array {
    const header = this.#receiveBytes(name, HEADER_SIZE);
    const fault = faultOfAnswer(header, name, least, most);
    if (fault !== undefined) throw this.#invalid(name, fault);
    return this.#receiveBytes(name, payloadSize(header));
  }

  #receiveBytes(name: RequestName, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    const fds: number[] = [];
    try {
      for (let done = 0; done < length;) {
        const received = this.#socket.receive(bytes.subarray(done), fds);
        if (received === 0) throw this.#closed();
        if (fds.length > 0) throw this.#invalid(name, 'a file descriptor that nobody asked for came along');
        if (received === undefined) this.#wait(name, 'readable');
        else done += received;
      }
      return bytes;
    } finally {
      closeAll(fds);
    }
  }

  #wait(name: RequestName, what: 'readable' | 'writable'): void {
    if (this.#socket.wait(what, this.#deadline) === 'ready') return;
    throw new VhostUserError(
      'VHOST_USER_TIMEOUT',
      `${this.#name} did not answer ${name} within ${this.#timeout} ms`,
    );
  }

  /** Closes the socket, for the first reason that there is. */
  #end(reason: VirtioNetError): VirtioNetError {
    if (this.#failure === undefined) {
      this.#failure = reason;
      this.#socket.close();
    }
    return this.#failure;
  }

  #explain(error: unknown, name?: RequestName): VirtioNetError {
    if (error instanceof VhostUserError) return error;
    const errno = errnoOf(error);
    if (GONE.has(errno)) return this.#closed(errno, error);
    const what = `Talking to ${this.#name}${name === undefined ? '' : ` (${name})`} failed`;
    return new VhostUserError('VHOST_USER_SOCKET_FAILED', what, { errno, cause: error });
  }

  #closed(errno?: number, cause?: unknown): VhostUserError {
    return new VhostUserError('VHOST_USER_DISCONNECTED', `${this.#name} has closed the connection`, {
      errno,
      cause,
    });
  }

  #unasked(): VhostUserError {
    return new VhostUserError('VHOST_USER_MESSAGE_INVALID', `${this.#name} sent what nobody asked for`);
  }

  #invalid(name: RequestName, fault: string): VhostUserError {
    return new VhostUserError('VHOST_USER_MESSAGE_INVALID', `${this.#name} was asked ${name}, but ${fault}`);
  }
}

function closeAll(fds: readonly number[]): void {
  for (const fd of fds) shim().close(fd);
}
