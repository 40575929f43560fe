/** What accompanies a preparation that may take minutes. */
export interface Preparation {
  /** Called with words for each step that begins. */
  readonly onProgress: (step: string) => void;
  /** Ends it, with an AbortError or that of the program that was running. */
  readonly signal?: AbortSignal | undefined;
}

/** Shows on a terminal what is going on; says nothing where standard error is not one. */
const CLEAR_LINE = '\r\x1b[K';

export function showProgress(step: string | undefined): void {
  if (process.stderr.isTTY) process.stderr.write(CLEAR_LINE + (step === undefined ? '' : `${step} ...`));
}
