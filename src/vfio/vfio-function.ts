/** A PCI function behind the kernel's VFIO. */
import { DeviceError, UsageError, VfioError } from '../errors.js';
import type { Logger } from '../log.js';
import { EventFd } from '../native/event-fd.js';
import { shim } from '../native/shim.js';
import type { BarPart, PciFunction, RegisterWindow, VectorTarget } from '../pci/pci-function.js';
import type { AccessWidth } from '../transport/transport.js';
import { BarWindow, type BarOwner } from './bar-window.js';
import { BAR_COUNT, CONFIG_REGION, DEVICE_FLAG } from './constants.js';
import type { VfioMemory } from './dma.js';
import { vfioCall } from './failures.js';
import { fetchInfo } from './info.js';
import { IntxInterrupt } from './intx.js';
import { MsixInterrupts } from './msix.js';
import { checkAccess, readRegion, readRegionInfo, writeRegion, type RegionInfo } from './region.js';
import { RemovalRequest } from './removal-request.js';
import type { UndoStack } from './undo-stack.js';

const DEVICE_INFO_BYTES = 32;
/** The command register of the configuration space (PCI Local Bus 3.0, 6.2.2). */
const COMMAND = 4;
const COMMAND_IO = 1;
const COMMAND_MEMORY = 2;
const COMMAND_BUS_MASTER = 4;

/** What a function is made of, once the device is open. */
export interface FunctionParts {
  readonly address: string;
  readonly log: Logger;
  readonly deviceFd: number;
  readonly memory: VfioMemory;
  /** Gives all of it back, the device file first, the memory then; runs at the end of `close()`. */
  readonly undo: UndoStack;
}

export class VfioFunction implements PciFunction, BarOwner {
  readonly address: string;
  readonly memory: VfioMemory;
  readonly log: Logger;
  readonly deviceFd: number;
  readonly #undo: UndoStack;
  readonly #canReset: boolean;
  readonly #config: RegionInfo;
  readonly #bars: readonly RegionInfo[];
  readonly #msix: MsixInterrupts;
  readonly #intx: IntxInterrupt;
  readonly #removal: RemovalRequest;
  readonly #windows = new Set<BarWindow>();
  #decodesMemory: boolean;
  #open = true;

  /** Takes the parts over when it returns; where it throws, they stay with the caller. */
  constructor(parts: FunctionParts) {
    this.address = parts.address;
    this.log = parts.log;
    this.deviceFd = parts.deviceFd;
    this.memory = parts.memory;
    this.#undo = parts.undo;
    this.#canReset = readCanReset(this.address, this.deviceFd);
    this.#config = readRegionInfo(this.deviceFd, CONFIG_REGION);
    this.#bars = Array.from({ length: BAR_COUNT }, (_, bar) => readRegionInfo(this.deviceFd, bar));
    this.#msix = new MsixInterrupts(this.deviceFd);
    this.#intx = new IntxInterrupt(this.deviceFd, this.log);
    this.#removal = new RemovalRequest(this.deviceFd);
    this.#decodesMemory = (this.readConfig(COMMAND, 2) & COMMAND_MEMORY) !== 0;
  }

  get sharing(): NonNullable<PciFunction['sharing']> {
    return {
      allocate: (size, options) => this.memory.allocate(size, options),
      createEvent: () => EventFd.create(),
    };
  }

  get configSize(): number {
    return this.#config.size;
  }

  readConfig(offset: number, width: AccessWidth): number {
    this.#requireOpen();
    checkAccess('The configuration space', this.#config.size, offset, width);
    return readRegion(this.deviceFd, this.#config, offset, width);
  }

  writeConfig(offset: number, width: AccessWidth, value: number): void {
    this.#requireOpen();
    checkAccess('The configuration space', this.#config.size, offset, width);
    writeRegion(this.deviceFd, this.#config, offset, width, value);
    if (offset < COMMAND + 2 && offset + width > COMMAND) this.#noteDecoding();
  }

  barSize(bar: number): number {
    return this.#bar(bar).size;
  }

  openBar(bar: number, part?: BarPart): RegisterWindow {
    this.#requireOpen();
    const region = this.#bar(bar);
    if (region.size === 0) {
      throw new DeviceError('DEVICE_CONFIG_INVALID', `${this.address} has no BAR ${bar}`);
    }
    const window = new BarWindow(this, bar, region, (closed) => this.#windows.delete(closed), part);
    this.#windows.add(window);
    return window;
  }

  get decodesMemory(): boolean {
    return this.#decodesMemory;
  }

  enable(): void {
    this.#changeCommand(COMMAND_IO | COMMAND_MEMORY | COMMAND_BUS_MASTER, 0);
  }

  disable(): void {
    this.#changeCommand(0, COMMAND_BUS_MASTER);
  }

  reset(): boolean {
    this.#requireOpen();
    if (!this.#canReset) return false;
    vfioCall('VFIO_DEVICE_RESET', shim().vfio_device_reset(this.deviceFd));
    this.#noteDecoding();
    return true;
  }

  get msixVectors(): number {
    return this.#msix.vectors;
  }

  enableMsix(targets: readonly VectorTarget[]): void {
    this.#requireOpen();
    // VFIO routes one kind at a time.
    this.#intx.disable();
    this.#msix.enable(targets);
  }

  disableMsix(): void {
    this.#msix.disable();
  }

  get hasIntx(): boolean {
    return this.#intx.exists;
  }

  enableIntx(handler: () => void): void {
    this.#requireOpen();
    this.#msix.disable();
    this.#intx.enable(handler);
  }

  disableIntx(): void {
    this.#intx.disable();
  }

  onRemovalRequest(handler: (() => void) | undefined): void {
    this.#requireOpen();
    this.#removal.listen(handler);
  }

  setKeepAlive(keepAlive: boolean): void {
    this.#msix.setKeepAlive(keepAlive);
    this.#intx.setKeepAlive(keepAlive);
  }

  close(): void {
    if (!this.#open) return;
    // From the last to the first: interrupts, DMA, windows, and below them what opening has pushed.
    for (const window of this.#windows) this.#undo.push('unmap a BAR', () => window.close());
    this.#undo.push('turn bus mastering off', () => this.disable());
    this.#undo.push('stop listening for its removal', () => this.#removal.close());
    this.#undo.push('turn INTx off', () => this.#intx.disable());
    this.#undo.push('turn MSI-X off', () => this.#msix.disable());
    this.#undo.run();
    this.#open = false;
  }

  #bar(bar: number): RegionInfo {
    if (Number.isInteger(bar) && bar >= 0 && bar < BAR_COUNT) return this.#bars[bar];
    throw new RangeError(`A function has BARs 0 to ${BAR_COUNT - 1}, not ${bar}`);
  }

  #changeCommand(set: number, clear: number): void {
    this.writeConfig(COMMAND, 2, (this.readConfig(COMMAND, 2) | set) & ~clear);
  }

  #noteDecoding(): void {
    this.#decodesMemory = (this.readConfig(COMMAND, 2) & COMMAND_MEMORY) !== 0;
  }

  #requireOpen(): void {
    if (!this.#open) throw new UsageError('DEVICE_CLOSED', `${this.address} was used after it was closed`);
  }
}

function readCanReset(address: string, deviceFd: number): boolean {
  const bytes = fetchInfo('VFIO_DEVICE_GET_INFO', DEVICE_INFO_BYTES, (buffer) =>
    shim().vfio_device_info(deviceFd, buffer, buffer.length),
  );
  const [, flags = 0] = new Uint32Array(bytes.buffer, 0, 2);
  if ((flags & DEVICE_FLAG.PCI) === 0) {
    throw new VfioError('VFIO_CALL_FAILED', `VFIO does not present ${address} as a PCI device`);
  }
  return (flags & DEVICE_FLAG.RESET) !== 0;
}
