/**
 * What the shim does with JavaScript values and environments: detaching an ArrayBuffer, waiting for an eventfd,
 * closing files when a thread ends.
 *
 * A foreign-function call can not pass such values, so the shim installs functions of its own, once for each
 * thread that uses it.
 */
import { callFailed, checked, ERRNO } from './errno.js';
import { koffi } from './koffi.js';
import { shim } from './shim.js';

/** An open poll; the shim closes it when it is collected. */
type PollExternal = object;

interface NodeFunctions {
  detach(buffer: ArrayBuffer): boolean;
  closeAtExit(fd: number, whether: boolean): boolean;
  pollOpen(fd: number, callback: () => void, isEventFd: boolean): PollExternal | false;
  pollKeepAlive(poll: PollExternal, keepAlive: boolean): boolean;
  pollClose(poll: PollExternal): boolean;
}

let installed: NodeFunctions | undefined;

function functions(): NodeFunctions {
  installed ??= install();
  return installed;
}

/**
 * The constructor of koffi's functions is what the shim can name too, even where this code runs in a context with a
 * global object of its own; nothing stays in it.
 */
function install(): NodeFunctions {
  const name = '__virtio_net_shim';
  const environment = koffi().node.env as unknown as bigint;
  checked('installation of the shim in Node', shim().install(environment, name));
  const { constructor } = koffi().view;
  const found = Reflect.get(constructor, name) as NodeFunctions;
  Reflect.deleteProperty(constructor, name);
  return found;
}

/**
 * Makes the length of the buffer, and of every view of it, 0.
 *
 * Says whether it worked; where not, its memory must not be unmapped.
 */
export function detachArrayBuffer(buffer: ArrayBuffer): boolean {
  return functions().detach(buffer) && buffer.byteLength === 0;
}

/**
 * Has the file descriptor closed when this thread ends, or no longer.
 *
 * @throws NativeError NATIVE_CALL_FAILED
 */
export function setCloseAtExit(fd: number, whether: boolean): void {
  if (!functions().closeAtExit(fd, whether))
    throw callFailed('change of a cleanup hook of Node', ERRNO.EINVAL);
}

/** What kind of file a poll waits for. */
export type PollKind = 'eventfd' | 'socket';

/** Waiting for a file on the event loop of this thread. */
export class EventPoll {
  readonly #external: PollExternal;

  /**
   * Drains an eventfd and calls `callback` whenever it was signalled; for a socket calls it as long as there is anything
   * to read, the end included. What the callback throws is an uncaught exception.
   *
   * @throws NativeError NATIVE_CALL_FAILED
   */
  constructor(fd: number, callback: () => void, kind: PollKind = 'eventfd') {
    const external = functions().pollOpen(fd, callback, kind === 'eventfd');
    if (external === false) throw callFailed(`uv_poll_start of file descriptor ${fd}`, ERRNO.EINVAL);
    this.#external = external;
  }

  /** Whether waiting keeps the event loop alive; true at first. */
  setKeepAlive(keepAlive: boolean): void {
    functions().pollKeepAlive(this.#external, keepAlive);
  }

  /** No callback any more. To be called before the fd is closed; calling it again does nothing. */
  close(): void {
    functions().pollClose(this.#external);
  }
}
