/** Giving back what was taken, in the reverse order, whatever fails on the way. */
import type { Logger } from '../log.js';

interface Step {
  readonly what: string;
  readonly undo: () => void;
}

/** What has to be undone, the latest first. */
export class UndoStack {
  readonly #steps: Step[] = [];
  readonly #log: Logger;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** @param what - for the log, for example `close the device file` */
  push(what: string, undo: () => void): void {
    this.#steps.push({ what, undo });
  }

  /** Undoes everything. A step that fails is logged and does not stop those after it. */
  run(): void {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        step.undo();
      } catch (error) {
        this.#log.warn({ err: error, step: step.what }, 'a step of closing the VFIO device failed');
      }
    }
  }
}
