/** QEMU's machine protocol (QMP): JSON, a message a line. */
import type { Duplex } from 'node:stream';
import { eachLine } from './line-splitter.js';
import { VmError } from './vm-error.js';

interface Reply {
  readonly id?: number;
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
}

interface Pending {
  readonly command: string;
  resolve(result: unknown): void;
  reject(error: VmError): void;
}

/** The client's end of a QMP connection. */
export class QmpClient {
  readonly #stream: Duplex;
  readonly #pending = new Map<number, Pending>();
  #nextId = 0;
  #closed = false;

  constructor(stream: Duplex) {
    this.#stream = stream;
    eachLine(stream, (line) => this.#receive(JSON.parse(line) as Reply));
    // Also after an error, such as a reset when QEMU ends in the middle of something.
    stream.on('close', () => this.#close());
    // Until its capabilities are negotiated QEMU takes no other command; replies come in order.
    this.execute('qmp_capabilities').catch(() => undefined);
  }

  /**
   * Runs a command and gives what it returns.
   *
   * @throws VmError VM_QMP_FAILED if QEMU refuses it, or ends first
   */
  execute(command: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new VmError('VM_QMP_FAILED', `QMP command ${command}: QEMU has ended.`));
        return;
      }
      const id = this.#nextId++;
      this.#pending.set(id, { command, resolve, reject });
      this.#stream.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    });
  }

  #receive({ id, return: result, error }: Reply): void {
    // The greeting and events have no id.
    const pending = id === undefined ? undefined : this.#pending.get(id);
    if (id === undefined || pending === undefined) return;
    this.#pending.delete(id);
    if (error === undefined) pending.resolve(result);
    else pending.reject(new VmError('VM_QMP_FAILED', `QMP command ${pending.command}: ${error.desc}`));
  }

  #close(): void {
    this.#closed = true;
    for (const pending of this.#pending.values()) {
      pending.reject(
        new VmError('VM_QMP_FAILED', `QMP command ${pending.command}: QEMU ended before it answered.`),
      );
    }
    this.#pending.clear();
  }
}
