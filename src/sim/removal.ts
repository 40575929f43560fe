/** Taking the device away: first it is asked for, then it is gone. */
import { soon } from './scheduling.js';

export class Removal {
  #handler: (() => void) | undefined;
  #noticed = false;
  #told = false;
  #gone = false;

  /** Whether the device no longer answers. */
  get isGone(): boolean {
    return this.#gone;
  }

  /** Says whom to tell; what was noticed before is told now. */
  listen(handler: (() => void) | undefined): void {
    this.#handler = handler;
    this.#tell();
  }

  /** The machine asks for the device. Calling it again does nothing. */
  request(): void {
    this.#noticed = true;
    this.#tell();
  }

  /** The device goes, whether or not it was asked for. */
  go(): void {
    this.#gone = true;
    this.request();
  }

  #tell(): void {
    if (!this.#noticed || this.#told || this.#handler === undefined) return;
    this.#told = true;
    soon(() => this.#handler?.());
  }
}
