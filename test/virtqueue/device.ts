/** What the tests ask of the device's side of a ring, whatever its format. */
export interface Part {
  readonly address: number;
  readonly length: number;
  readonly writable: boolean;
}

export interface Taken {
  /** What the device names the buffer by when it returns it: the head of the chain, or the buffer id. */
  readonly id: number;
  readonly parts: readonly Part[];
}

export interface RingDevice {
  /** Takes the next available buffer, if there is one. */
  take(): Taken | undefined;
  /** Returns a buffer; says whether the driver asked for an interrupt. */
  return(id: number, length: number): boolean;
  /** Returns several buffers by one entry, that of the last; says whether the driver asked for an interrupt. */
  returnBatch(ids: readonly number[], length: number): boolean;
  /** Asks to be notified of the next buffer. Says whether some came in the meantime. */
  sleep(): boolean;
  /** Asks not to be notified. */
  suppressNotifications(): void;
}

interface Descriptor {
  readonly lo: number;
  readonly hi: number;
  readonly length: number;
  /** The two 16-bit words behind the length. */
  readonly words: readonly [number, number];
}

/** Reads the descriptor at an index of a table. */
export function readDescriptor(table: Uint8Array, index: number): Descriptor {
  const view = new DataView(table.buffer, table.byteOffset + 16 * index, 16);
  return {
    lo: view.getUint32(0, true),
    hi: view.getUint32(4, true),
    length: view.getUint32(8, true),
    words: [view.getUint16(12, true), view.getUint16(14, true)],
  };
}

/** Appends a part to a chain, which must not go on readable behind what is writable. */
export function appendPart(parts: Part[], { lo, hi, length }: Descriptor, writable: boolean): void {
  if (!writable && parts.some((part) => part.writable)) throw new Error('readable after writable');
  parts.push({ address: hi * 2 ** 32 + lo, length, writable });
}
