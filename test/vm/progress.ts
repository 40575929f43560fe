/** Shows on a terminal what is going on; says nothing where standard error is not one. */
const CLEAR_LINE = '\r\x1b[K';

export function showProgress(step: string | undefined): void {
  if (process.stderr.isTTY) process.stderr.write(CLEAR_LINE + (step === undefined ? '' : `${step} ...`));
}
