/** What keeps the benchmark from running: shown as one line, without a stack. */
export class BenchError extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'BenchError';
  }
}
