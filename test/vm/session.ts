/** One life of a VM: from the start of QEMU to its end. */
import type { Duplex } from 'node:stream';
import { eachLine } from './line-splitter.js';
import { startQemu, type Machine, type QemuProcess } from './qemu.js';
import { QmpClient } from './qmp.js';
import { VmError } from './vm-error.js';

/** How long QEMU may take to end when it is asked to. */
const GRACE_MILLISECONDS = 5000;
/** So many lines of the kernel's log go into the message about a guest that died. */
const LOG_LINES = 15;

/** A VM while it runs. */
export interface RunningVm {
  /**
   * Runs a QMP command, for example `set_link` with `{ name: 'nic0', up: false }`, and gives what it returns.
   *
   * @throws VmError VM_QMP_FAILED
   */
  qmp(command: string, args?: Readonly<Record<string, unknown>>): Promise<unknown>;
}

export interface SessionHandlers {
  /** Called with what the command writes, as it comes. */
  readonly onOutput?: (chunk: Buffer) => void;
  /** Called with each line that the command writes. If it throws or rejects, the run ends with that error. */
  readonly onLine?: (line: string, vm: RunningVm) => void | Promise<void>;
  /** Called when a step begins that may take seconds, with words for it; with undefined when none goes on. */
  readonly onProgress?: (step: string | undefined) => void;
}

export interface SessionOptions extends SessionHandlers {
  readonly timeoutSeconds: number;
  readonly signal?: AbortSignal | undefined;
}

/** How a session ended, if neither QEMU nor the guest failed. */
export interface SessionEnd {
  /** The exit status of the command; undefined if it did not end in time. */
  readonly status: number | undefined;
  readonly output: Buffer;
  readonly kernelLog: string;
}

class Session {
  readonly #qemu: QemuProcess;
  readonly #qmp: QmpClient;
  readonly #handlers: SessionHandlers;
  readonly #output: Buffer[] = [];
  readonly #kernelLog: Buffer[] = [];
  readonly #messages: Buffer[] = [];
  readonly #reactions: Promise<void>[] = [];
  #status: number | undefined;
  #timedOut = false;
  #failure: Error | undefined;
  #killTimer: NodeJS.Timeout | undefined;

  constructor(machine: Machine, handlers: SessionHandlers) {
    this.#handlers = handlers;
    this.#qemu = startQemu(machine);
    this.#qmp = new QmpClient(this.#qemu.qmp);
    collect(this.#qemu.kernelLog, this.#kernelLog);
    collect(this.#qemu.messages, this.#messages);
    collect(this.#qemu.output, this.#output);
    this.#qemu.output.on('data', (chunk: Buffer) => handlers.onOutput?.(chunk));
    eachLine(this.#qemu.output, (line) => this.#react(line));
    eachLine(this.#qemu.reports, (line) => this.#report(line));
  }

  /** Resolves when QEMU has ended and all that it wrote has been read. */
  async run({ timeoutSeconds, signal }: SessionOptions): Promise<SessionEnd> {
    const timer = setTimeout(() => {
      this.#timedOut = true;
      this.#end();
    }, timeoutSeconds * 1000);
    const abort = (): void => this.#fail(new VmError('VM_ABORTED', 'The run of the VM was aborted.'));
    signal?.addEventListener('abort', abort);
    try {
      await this.#closed();
    } finally {
      signal?.removeEventListener('abort', abort);
      clearTimeout(timer);
      clearTimeout(this.#killTimer);
    }
    await Promise.all(this.#reactions);
    return this.#conclude();
  }

  #closed(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#qemu.process.on('close', () => resolve());
      this.#qemu.process.on('error', (error) =>
        reject(new VmError('VM_QEMU_FAILED', `QEMU could not be started: ${error.message}`, error)),
      );
    });
  }

  #react(line: string): void {
    const { onLine } = this.#handlers;
    if (onLine === undefined) return;
    const vm: RunningVm = { qmp: (command, args) => this.#qmp.execute(command, args) };
    const reaction = Promise.resolve().then(() => onLine(line, vm));
    this.#reactions.push(reaction.catch((error: unknown) => this.#fail(error)));
  }

  /** The reports of init.sh. */
  #report(line: string): void {
    const [, kind, rest = ''] = /^(\w+) ?(.*)$/.exec(line) ?? [];
    if (kind === 'ready') this.#handlers.onProgress?.(undefined);
    if (kind === 'failed') {
      this.#fail(new VmError('VM_SETUP_FAILED', `The set-up of the guest failed: ${rest}`));
    }
    if (kind === 'exit') {
      this.#status = Number(rest);
      this.#end();
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= error instanceof Error ? error : new Error(String(error));
    this.#end();
  }

  #end(): void {
    if (this.#killTimer !== undefined) return;
    this.#qemu.process.kill('SIGTERM');
    this.#killTimer = setTimeout(() => this.#qemu.process.kill('SIGKILL'), GRACE_MILLISECONDS);
  }

  #conclude(): SessionEnd {
    if (this.#failure !== undefined) throw this.#failure;
    const kernelLog = text(this.#kernelLog);
    if (this.#status === undefined && !this.#timedOut) throw this.#explainDeath(kernelLog);
    return { status: this.#status, output: Buffer.concat(this.#output), kernelLog };
  }

  #explainDeath(kernelLog: string): VmError {
    const lines = kernelLog.trimEnd().split('\n');
    const panic = lines.findIndex((line) => line.includes('Kernel panic'));
    if (panic !== -1) {
      const words = lines.slice(panic, panic + LOG_LINES).join('\n');
      return new VmError('VM_KERNEL_PANIC', `The kernel of the guest panicked:\n${words}`);
    }
    const { exitCode, signalCode } = this.#qemu.process;
    if (exitCode !== 0) {
      const said = text(this.#messages).trim();
      const how = signalCode ?? `status ${exitCode ?? '?'}`;
      return new VmError(
        'VM_QEMU_FAILED',
        `QEMU ended with ${how}: ${said === '' ? 'it said nothing' : said}`,
      );
    }
    const tail = lines.slice(-LOG_LINES).join('\n');
    return new VmError('VM_GUEST_DIED', `The guest went off before the command had ended.\n${tail}`);
  }
}

function collect(stream: Duplex, chunks: Buffer[]): void {
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  // A reset when QEMU is killed loses nothing that matters: how it ended tells the rest.
  stream.on('error', () => undefined);
}

/** Terminals end their lines with a carriage return and a line feed. */
function text(chunks: readonly Buffer[]): string {
  return Buffer.concat(chunks).toString().replaceAll('\r\n', '\n');
}

/**
 * Starts QEMU and stays with it until it has ended.
 *
 * @throws VmError VM_QEMU_FAILED, VM_SETUP_FAILED, VM_KERNEL_PANIC, VM_GUEST_DIED, VM_ABORTED; what `onLine` throws
 */
export function runSession(machine: Machine, options: SessionOptions): Promise<SessionEnd> {
  options.onProgress?.('Booting the guest');
  return new Session(machine, options).run(options);
}
