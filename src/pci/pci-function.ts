/**
 * A PCI function as a driver sees it: configuration space, BARs, interrupts.
 *
 * The PCI transports know a card by this interface alone; `src/vfio` implements it with the kernel's VFIO.
 */
import type { AccessWidth } from '../transport/transport.js';
import type { DmaMemory } from '../memory/dma.js';
import type { TransportSharing } from '../transport/sharing.js';

/** A BAR, opened. Accesses are naturally aligned, of exactly the given width, and little-endian. */
export interface RegisterWindow {
  /** Length in bytes; an access beyond it is a programming error and throws a RangeError. */
  readonly size: number;
  read(offset: number, width: AccessWidth): number;
  write(offset: number, width: AccessWidth, value: number): void;
  /**
   * The virtual address of a register, for other threads; undefined where it is not mapped. When the window is closed
   * the address stays valid, and leads nowhere.
   */
  share?(offset: number, width: AccessWidth): number | undefined;
  /** Gives the mapping back. Accesses after it throw. Calling it again does nothing. */
  close(): void;
}

/** A part of a BAR, in bytes from its start. */
export interface BarPart {
  readonly start: number;
  /** The first byte behind it. */
  readonly end: number;
}

/** Where the interrupts of a vector go: to a handler, or an eventfd that somebody waits for, in whatever thread. */
export type VectorTarget = (() => void) | { readonly fd: number };

export interface PciFunction {
  /** For example `0000:00:10.0`. */
  readonly address: string;
  /** Memory that the function can reach by DMA. */
  readonly memory: DmaMemory;

  /** What other threads need to work with the function; absent where they can not. */
  readonly sharing?: Pick<TransportSharing, 'allocate' | 'createEvent'> | undefined;

  /** Length of the configuration space: 256, or 4096 on PCI Express. */
  readonly configSize: number;
  readConfig(offset: number, width: AccessWidth): number;
  writeConfig(offset: number, width: AccessWidth, value: number): void;

  /** Length of a BAR (0 to 5) in bytes; 0 where there is none, or where it is the upper half of the one before. */
  barSize(bar: number): number;
  /**
   * Opens a BAR of memory or of I/O ports. It is mapped; where the kernel does not let it be mapped, as with I/O ports,
   * each access is a system call instead.
   *
   * @param part - what is going to be accessed; of a large BAR no more need be mapped. The rest can be accessed all the
   *   same, by system call. The whole BAR unless told.
   */
  openBar(bar: number, part?: BarPart): RegisterWindow;

  /** Turns memory decoding, I/O decoding and bus mastering (DMA) on. */
  enable(): void;
  /** Turns bus mastering off: the function can reach no memory any more. */
  disable(): void;
  /** Resets the function, where it can be reset; says whether it could. */
  reset(): boolean;

  /** Number of MSI-X vectors of the function, 0 if it has none. */
  readonly msixVectors: number;
  /**
   * Routes vector i to `targets[i]`: handlers run on the event loop, eventfds are signalled. Replaces what was routed
   * before.
   */
  enableMsix(targets: readonly VectorTarget[]): void;
  /** Stops all MSI-X delivery: no handler runs any more. Calling it again does nothing. */
  disableMsix(): void;

  /** Whether the function has an interrupt pin (INTx). */
  readonly hasIntx: boolean;
  /**
   * Routes the pin to `handler`, which runs on the event loop. Replaces what was routed before, MSI-X too. The kernel
   * masks the pin at each interrupt; it is unmasked when the handler has returned. The pin may be shared with other
   * devices, so the handler has to ask its device.
   */
  enableIntx(handler: () => void): void;
  /** Stops INTx delivery: the handler does not run any more. Calling it again does nothing. */
  disableIntx(): void;

  /**
   * Has `handler` called when the kernel asks for the device back: it is being unplugged, or unbound from VFIO. The
   * kernel waits until the function is closed. Called once at most, on the event loop, which waiting for it does not
   * keep alive; undefined takes the handler away.
   */
  onRemovalRequest(handler: (() => void) | undefined): void;

  /** Whether waiting for interrupts keeps the event loop alive; true at first. */
  setKeepAlive(keepAlive: boolean): void;

  /** Gives everything back in the reverse order. Calling it again does nothing. */
  close(): void;
}
