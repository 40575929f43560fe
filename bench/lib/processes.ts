/** Programs that the benchmark starts: each ends with the benchmark, however that ends. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { BenchError } from '../bench-error.js';

/** How much of what a program says on standard error is kept to explain its end. */
const KEPT = 4096;
const GRACE_MILLISECONDS = 2000;

export interface ProgramOptions {
  /** The processor that it runs on; any by default. */
  readonly processor?: number | undefined;
  readonly environment?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** A running program, spoken to by lines. */
export class Program {
  readonly name: string;
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly ended: Promise<void>;
  private heard = '';
  private complaints = '';
  private wake: () => void = () => undefined;
  private over: string | undefined;

  private constructor(name: string, child: ChildProcessWithoutNullStreams) {
    this.name = name;
    this.child = child;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.heard += text;
      this.wake();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.complaints = (this.complaints + text).slice(-KEPT);
    });
    // A program that has ended says so by its end.
    child.stdin.on('error', () => undefined);
    this.ended = new Promise((resolve) => {
      const end = (reason: string): void => {
        this.over ??= reason;
        this.wake();
        resolve();
      };
      child.on('error', (error) => end(`could not be run: ${error.message}`));
      child.on('close', (status, signal) => end(`ended (${signal ?? status ?? 'no status'})`));
    });
  }

  /**
   * Starts it. The kernel ends it with this process, even if that is killed.
   *
   * @throws BenchError if it can not be started
   */
  static async start(name: string, words: readonly string[], options: ProgramOptions): Promise<Program> {
    options.signal.throwIfAborted();
    const pinned = options.processor === undefined ? [] : ['taskset', '-c', String(options.processor)];
    const [first, ...rest] = ['setpriv', '--pdeathsig', 'KILL', '--', ...pinned, ...words];
    const env = { ...process.env, ...options.environment };
    const program = new Program(
      name,
      spawn(first, rest, { env, signal: options.signal, killSignal: 'SIGKILL' }),
    );
    if (program.child.pid === undefined) await program.ended;
    program.checkRunning();
    return program;
  }

  /** What it has said on standard error lately. */
  get diagnostics(): string {
    return this.complaints;
  }

  write(line: string): void {
    this.child.stdin.write(`${line}\n`);
  }

  /**
   * Waits for words on its standard output, and gives all that came before their end.
   *
   * @throws BenchError if it ends before, or does not say them in time
   */
  async read(until: RegExp, milliseconds = 20_000): Promise<string> {
    const deadline = performance.now() + milliseconds;
    for (;;) {
      const found = until.exec(this.heard);
      if (found !== null) {
        const end = found.index + found[0].length;
        const text = this.heard.slice(0, end);
        this.heard = this.heard.slice(end);
        return text;
      }
      this.checkRunning();
      const left = deadline - performance.now();
      if (left <= 0) throw this.failure(`did not answer within ${milliseconds / 1000} seconds`);
      await this.hearMore(left);
    }
  }

  /** Ends it: by its standard input, which it is expected to read, or else by force. */
  async end(goodbye?: string): Promise<void> {
    if (goodbye !== undefined) this.write(goodbye);
    this.child.stdin.end();
    const timer = setTimeout(() => this.child.kill('SIGKILL'), GRACE_MILLISECONDS);
    await this.ended;
    clearTimeout(timer);
  }

  /** The error for something that it did not do as expected. */
  failure(what: string): BenchError {
    const said = this.complaints.trim();
    return new BenchError(`${this.name} ${what}.${said === '' ? '' : ` It said:\n${said}`}`);
  }

  private checkRunning(): void {
    if (this.over !== undefined) throw this.failure(this.over);
  }

  /** Waits for more to read, for the end, or for that long. */
  private hearMore(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
