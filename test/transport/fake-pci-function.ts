/** A PCI function in memory, down to its registers, made from the PCI and VIRTIO specifications alone. */
import type { DmaMemory } from '../../src/memory/dma.js';
import type { BarPart, PciFunction, RegisterWindow, VectorTarget } from '../../src/pci/pci-function.js';
import type { AccessWidth } from '../../src/transport/transport.js';

/** What a BAR does when it is accessed; offsets are from its start. */
export interface BarModel {
  readonly size: number;
  read(offset: number, width: AccessWidth): number;
  write(offset: number, width: AccessWidth, value: number): void;
}

/** One access to a BAR, as it was seen on the bus. */
export interface BusAccess {
  readonly kind: 'read' | 'write';
  readonly bar: number;
  readonly offset: number;
  readonly width: AccessWidth;
  readonly value: number;
}

const NO_MEMORY: DmaMemory = {
  behindIommu: true,
  addressing: 'iova',
  setAddressing: () => undefined,
  allocatedBytes: 0,
  allocate() {
    throw new Error('this model has no memory');
  },
};

function checkAccess(offset: number, width: number, size: number): void {
  const fits = Number.isInteger(offset) && offset >= 0 && offset % width === 0 && offset + width <= size;
  if (!fits) throw new RangeError(`access of ${width} bytes at ${offset} of ${size}`);
}

/** Little-endian access to plain bytes. */
export function readBytes(bytes: Uint8Array, offset: number, width: AccessWidth): number {
  checkAccess(offset, width, bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (width === 1) return view.getUint8(offset);
  return width === 2 ? view.getUint16(offset, true) : view.getUint32(offset, true);
}

export class FakePciFunction implements PciFunction {
  readonly address = '0000:00:10.0';
  /** There is none, unless a test gives it some. */
  memory: DmaMemory = NO_MEMORY;
  readonly configSize = 256;
  /** What happened, in order: the calls that change something. */
  readonly events: string[] = [];
  readonly accesses: BusAccess[] = [];
  readonly config: Uint8Array;
  readonly bars = new Map<number, BarModel>();
  msixVectors = 0;
  handlers: readonly (() => void)[] = [];
  /** Of each vector, the eventfd that it signals instead of calling a handler. */
  eventFds: readonly (number | undefined)[] = [];
  hasIntx = false;
  /** What the interrupt pin leads to. */
  intxHandler: (() => void) | undefined;
  removalHandler: (() => void) | undefined;
  keepAlive = true;
  resettable = true;
  openWindows = 0;
  /** Vectors that the kernel has left. */
  kernelVectors = Infinity;
  /** The number of the access that fails, from 1 on. */
  failingAccess = Infinity;
  /** Accesses to what was not to be mapped: they work, but are slow. */
  slowAccesses = 0;
  accessCount = 0;
  /** What was asked to be mapped, in the order of the opening. */
  readonly parts: (BarPart & { readonly bar: number })[] = [];
  /** Names of calls that throw, to see what comes after. */
  readonly broken = new Set<string>();

  constructor(config: Uint8Array) {
    this.config = config;
  }

  readConfig(offset: number, width: AccessWidth): number {
    return readBytes(this.config, offset, width);
  }

  writeConfig(): void {
    throw new Error('the driver has nothing to write here');
  }

  barSize(bar: number): number {
    return this.bars.get(bar)?.size ?? 0;
  }

  openBar(bar: number, part?: BarPart): RegisterWindow {
    const model = this.bars.get(bar);
    if (model === undefined) throw new RangeError(`there is no BAR ${bar}`);
    const { start, end } = part ?? { start: 0, end: model.size };
    this.parts.push({ bar, start, end });
    this.#event(`open BAR ${bar}`);
    this.openWindows++;
    let open = true;
    const check = (offset: number, width: AccessWidth): void => {
      this.accessCount++;
      if (this.accessCount === this.failingAccess) throw new Error('the bus is broken');
      if (!open) throw new Error(`BAR ${bar} is closed`);
      checkAccess(offset, width, model.size);
      if (offset < start || offset + width > end) this.slowAccesses++;
    };
    return {
      size: model.size,
      read: (offset, width) => {
        check(offset, width);
        const value = model.read(offset, width);
        this.accesses.push({ kind: 'read', bar, offset, width, value });
        return value;
      },
      write: (offset, width, value) => {
        check(offset, width);
        this.accesses.push({ kind: 'write', bar, offset, width, value });
        model.write(offset, width, value);
      },
      close: () => {
        if (!open) return;
        open = false;
        this.openWindows--;
        this.#event(`close BAR ${bar}`);
      },
    };
  }

  enable(): void {
    this.#event('enable');
  }

  disable(): void {
    this.#event('disable');
  }

  reset(): boolean {
    this.#event('reset function');
    return this.resettable;
  }

  enableMsix(targets: readonly VectorTarget[]): void {
    if (targets.length > this.msixVectors) throw new RangeError('more handlers than vectors');
    this.#event(`enable ${targets.length} vectors`);
    if (targets.length > this.kernelVectors) throw new Error('the kernel has no such number of vectors');
    this.eventFds = targets.map((target) => (typeof target === 'function' ? undefined : target.fd));
    this.handlers = targets.map((target) => (typeof target === 'function' ? target : () => undefined));
  }

  disableMsix(): void {
    this.#event('disable MSI-X');
    this.handlers = [];
  }

  enableIntx(handler: () => void): void {
    if (!this.hasIntx) throw new RangeError('there is no interrupt pin');
    this.#event('enable INTx');
    this.intxHandler = handler;
  }

  disableIntx(): void {
    this.#event('disable INTx');
    this.intxHandler = undefined;
  }

  onRemovalRequest(handler: (() => void) | undefined): void {
    this.removalHandler = handler;
  }

  setKeepAlive(keepAlive: boolean): void {
    this.keepAlive = keepAlive;
  }

  close(): void {
    this.#event('close function');
  }

  #event(name: string): void {
    this.events.push(name);
    if (this.broken.has(name)) throw new Error(`${name} is broken`);
  }
}
