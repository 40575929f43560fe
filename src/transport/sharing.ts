/**
 * How threads beside the one that opened a device get at its queues. The thread that opened it stays in charge of the
 * device; others write and read rings and buffers, and notify. All that they are given is plain data.
 */
import type { AllocateOptions, DmaRegion } from '../memory/dma.js';

/** Where the bytes of a region are, for another thread of this process. */
export type SharedMemory = SharedArrayBuffer | MemoryAddress;

/** A stretch of the address space of this process. */
export interface MemoryAddress {
  /** Virtual address of the first byte. */
  readonly address: number;
  /** Length in bytes. */
  readonly size: number;
}

/**
 * A region that other threads may use as well. When it is freed, their views of it stay valid: they show zeros from then
 * on, or what they showed before, and lead to no memory that anybody else has.
 */
export interface ShareableRegion extends DmaRegion {
  share(): SharedMemory;
}

/** What notifies the device of new buffers in a queue. */
export type SharedDoorbell = SharedRegister | SharedKick;

/** An eventfd that notifies the device. */
export interface SharedKick {
  /** It stays open as long as another thread may use it, see {@link TransportSharing.createKick}. */
  readonly fd: number;
}

/** A register that notifies the device, mapped into this process. */
export interface SharedRegister {
  /** Virtual address. It stays valid when the device is closed: then a write goes nowhere. */
  readonly address: number;
  /** In bytes; with 4 the position in the ring belongs into the upper half. */
  readonly width: 2 | 4;
  /** What names the queue. */
  readonly id: number;
}

/** An eventfd for the interrupts of a queue. */
export interface SharedEvent {
  readonly fd: number;
  /** Gives it back. No thread must wait for it any more. */
  close(): void;
}

export interface TransportSharing {
  /** Allocates memory as `memory.allocate()` of the transport does, for other threads as well. */
  allocate(size: number, options?: AllocateOptions): ShareableRegion;
  /** Makes an eventfd for a queue; undefined where interrupts are not eventfds, but have to be passed on. */
  createEvent(): SharedEvent | undefined;
  /**
   * Makes an eventfd by which another thread is to notify the device, where that is done by eventfds: the queue is
   * enabled with it, see `kickFd` of its layout.
   */
  createKick?(): SharedEvent;
  /** Where an enabled queue is notified; undefined where another thread can not, but has to ask for `notify()`. */
  doorbell(queue: number): SharedDoorbell | undefined;
  /** Notifies for another thread, some time after that asked for it. */
  notify(queue: number, data: number | undefined): void;
}
