/** The fields of a device that change while it runs lie in front: of a network card its status, MTU and speed. */
const WATCHED_BYTES = 32;

/** Makes a generation of a configuration that has none: it counts how often the bytes read other than before. */
export class ConfigChanges {
  readonly #readByte: (offset: number) => number;
  readonly #last = new Uint8Array(WATCHED_BYTES);
  #generation = 0;

  constructor(readByte: (offset: number) => number) {
    this.#readByte = readByte;
  }

  /** @param length - of the configuration, in bytes */
  generation(length: number): number {
    let changed = false;
    for (let offset = 0; offset < Math.min(length, WATCHED_BYTES); offset += 1) {
      const value = this.#readByte(offset);
      if (value !== this.#last[offset]) changed = true;
      this.#last[offset] = value;
    }
    if (changed) this.#generation += 1;
    return this.#generation;
  }
}
