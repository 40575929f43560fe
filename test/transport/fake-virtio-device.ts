/** A virtio network card behind a fake PCI function: its structures in BAR 4, with their behaviour. */
import type { AccessWidth } from '../../src/transport/transport.js';
import { buildConfigSpace, TYPE } from './fake-config-space.js';
import { FakePciFunction, readBytes } from './fake-pci-function.js';

export const BAR = 4;
export const COMMON_AT = 0x0000;
export const ISR_AT = 0x1000;
export const DEVICE_AT = 0x2000;
export const NOTIFY_AT = 0x3000;
const STRUCTURE = 0x1000;
export const MULTIPLIER = 4;
export const NO_VECTOR = 0xffff;

/** Offsets in struct virtio_pci_common_cfg (VIRTIO 1.3, 4.1.4.3), with the width of each register. */
export const COMMON = {
  device_feature_select: [0, 4],
  device_feature: [4, 4],
  driver_feature_select: [8, 4],
  driver_feature: [12, 4],
  config_msix_vector: [16, 2],
  num_queues: [18, 2],
  device_status: [20, 1],
  config_generation: [21, 1],
  queue_select: [22, 2],
  queue_size: [24, 2],
  queue_msix_vector: [26, 2],
  queue_enable: [28, 2],
  queue_notify_off: [30, 2],
  queue_desc: [32, 4],
  queue_desc_hi: [36, 4],
  queue_driver: [40, 4],
  queue_driver_hi: [44, 4],
  queue_device: [48, 4],
  queue_device_hi: [52, 4],
  queue_notif_config_data: [56, 2],
  queue_reset: [58, 2],
} as const satisfies Record<string, readonly [number, AccessWidth]>;
type CommonName = keyof typeof COMMON;

const READ_ONLY = new Set<CommonName>([
  'device_feature',
  'num_queues',
  'config_generation',
  'queue_notify_off',
  'queue_notif_config_data',
]);
const PER_QUEUE = new Set<CommonName>(
  (Object.keys(COMMON) as CommonName[]).filter(
    (name) => name.startsWith('queue_') && name !== 'queue_select',
  ),
);

export interface FakeDeviceOptions {
  readonly features?: bigint;
  readonly queueSizes?: readonly number[];
  readonly msixVectors?: number;
  readonly config?: Uint8Array;
  /** Vectors from this one on are refused. */
  readonly refuseVectorsFrom?: number;
  readonly notifyOffOf?: (queue: number) => number;
  /** The length of the common configuration, of the notification structure, and its multiplier; in bytes. */
  readonly commonLength?: number;
  readonly notifyLength?: number;
  readonly multiplier?: number;
  readonly notifConfigDataOf?: (queue: number) => number;
}

/** The device: what a test looks at, and what it can make the device do. */
export class FakeVirtioDevice {
  readonly pci: FakePciFunction;
  readonly registers = new Map<CommonName, number>();
  readonly queues: Map<CommonName, number>[] = [];
  readonly driverFeatures = [0, 0];
  /** The queues that were notified. */
  readonly notified: number[] = [];
  /** The ring positions that came with notifications. */
  readonly positions: number[] = [];
  /** Nobody answers any more: all bits read as 1. */
  gone = false;
  /** How often a queue's reset still reads as under way; Infinity for a device that hangs. */
  queueResetDelay = 0;
  /** Statements of the specification that the driver broke. */
  readonly violations: string[] = [];
  isr = 0;
  isrReads = 0;
  /** Vectors from this one on are refused. */
  refuseVectorsFrom: number;
  generation = 0;
  /** How often the status still reads as it was after a reset was asked for; Infinity for a device that hangs. */
  resetDelay = 0;
  readonly #options: FakeDeviceOptions;
  #status = 0;
  #resetting = 0;
  #queueResetting = 0;

  constructor(options: FakeDeviceOptions = {}) {
    this.#options = options;
    this.pci = new FakePciFunction(
      buildConfigSpace([
        { type: TYPE.COMMON, bar: BAR, offset: COMMON_AT, length: options.commonLength ?? STRUCTURE },
        { type: TYPE.ISR, bar: BAR, offset: ISR_AT, length: STRUCTURE },
        { type: TYPE.DEVICE, bar: BAR, offset: DEVICE_AT, length: this.#config.length },
        {
          type: TYPE.NOTIFY,
          bar: BAR,
          offset: NOTIFY_AT,
          length: options.notifyLength ?? STRUCTURE,
          multiplier: this.#multiplier,
        },
        { type: TYPE.PCI, bar: 0, offset: 0, length: 0 },
      ]),
    );
    this.pci.msixVectors = options.msixVectors ?? 4;
    this.refuseVectorsFrom = options.refuseVectorsFrom ?? this.pci.msixVectors;
    this.pci.bars.set(BAR, {
      size: NOTIFY_AT + (options.notifyLength ?? STRUCTURE),
      read: (offset, width) => this.#read(offset, width),
      write: (offset, width, value) => this.#write(offset, width, value),
    });
    this.#reset();
  }

  get status(): number {
    return this.#status;
  }

  queue(queue: number): Map<CommonName, number> {
    const registers = this.queues.at(queue);
    if (registers === undefined) throw new Error(`there is no queue ${queue}`);
    return registers;
  }

  get #config(): Uint8Array {
    return this.#options.config ?? new Uint8Array(64);
  }

  get #sizes(): readonly number[] {
    return this.#options.queueSizes ?? [256, 256, 64];
  }

  get #multiplier(): number {
    return this.#options.multiplier ?? MULTIPLIER;
  }

  #accepts(bit: number): boolean {
    return (this.driverFeatures[Math.floor(bit / 32)] & (1 << (bit % 32))) !== 0;
  }

  #reset(): void {
    this.#status = 0;
    this.registers.clear();
    this.registers.set('config_msix_vector', NO_VECTOR);
    this.queues.length = 0;
    this.#sizes.forEach((_, queue) => this.queues.push(this.#freshQueue(queue)));
    this.driverFeatures.fill(0);
  }

  #freshQueue(queue: number): Map<CommonName, number> {
    return new Map<CommonName, number>([
      ['queue_size', this.#sizes[queue] ?? 0],
      ['queue_msix_vector', NO_VECTOR],
      ['queue_notify_off', this.#options.notifyOffOf?.(queue) ?? queue],
      ['queue_notif_config_data', this.#options.notifConfigDataOf?.(queue) ?? 0],
    ]);
  }

  #read(offset: number, width: AccessWidth): number {
    if (this.gone) return 2 ** (8 * width) - 1;
    if (offset >= NOTIFY_AT) return 0;
    if (offset >= DEVICE_AT) return readBytes(this.#config, offset - DEVICE_AT, width);
    if (offset === ISR_AT) return this.#takeIsr();
    const name = this.#commonName(offset, width);
    if (name === 'device_feature') return this.#featureWord(this.registers.get('device_feature_select') ?? 0);
    if (name === 'num_queues') return this.queues.length;
    if (name === 'device_status') return this.#readStatus();
    if (name === 'config_generation') return this.generation;
    if (name === 'queue_reset') this.#proceedQueueReset();
    return this.#bank(name)?.get(name) ?? 0;
  }

  #write(offset: number, width: AccessWidth, value: number): void {
    if (this.gone) return;
    if (offset >= NOTIFY_AT) {
      this.#takeNotification(offset - NOTIFY_AT, width, value);
      return;
    }
    if (offset >= DEVICE_AT) {
      this.#config[offset - DEVICE_AT] = value;
      return;
    }
    const name = this.#commonName(offset, width);
    if (READ_ONLY.has(name)) this.violations.push(`${name} was written`);
    if (name === 'device_status') this.#writeStatus(value);
    else if (name === 'driver_feature')
      this.driverFeatures[this.registers.get('driver_feature_select') ?? 0] = value;
    else if (name === 'queue_enable') this.#enableQueue(value);
    else if (name === 'queue_reset') this.#startQueueReset(value);
    else this.#bank(name)?.set(name, this.#accepted(name, value));
  }

  /** VIRTIO 1.3, 4.1.5.2: where, how wide, and what names the queue. */
  #takeNotification(at: number, width: AccessWidth, value: number): void {
    const expected = this.#accepts(38) ? 4 : 2;
    if (width !== expected) this.violations.push(`notification of ${width} bytes`);
    const id = value & 0xffff;
    const queue = this.queues.findIndex(
      (registers, index) =>
        (registers.get('queue_notify_off') ?? 0) * this.#multiplier === at &&
        (this.#accepts(39) ? registers.get('queue_notif_config_data') : index) === id,
    );
    if (queue < 0) this.violations.push(`notification of ${id} at ${at}`);
    if (this.queues.at(queue)?.get('queue_enable') !== 1)
      this.violations.push(`queue ${queue} was notified before it was enabled`);
    this.notified.push(queue);
    if (expected === 4) this.positions.push(value >>> 16);
  }

  /** VIRTIO 1.3, 2.6.1 and 4.1.4.3. */
  #startQueueReset(value: number): void {
    const registers = this.#bank('queue_reset');
    if (!this.#accepts(40)) this.violations.push('queue_reset was written without VIRTIO_F_RING_RESET');
    if (value !== 1 || registers?.get('queue_enable') !== 1)
      this.violations.push(`queue_reset was written ${value} for a queue that is not enabled`);
    registers?.set('queue_reset', 1);
    this.#queueResetting = this.queueResetDelay;
  }

  #proceedQueueReset(): void {
    const queue = this.registers.get('queue_select') ?? 0;
    if (this.queues.at(queue)?.get('queue_reset') !== 1) return;
    if (this.#queueResetting > 0) this.#queueResetting--;
    else this.queues[queue] = this.#freshQueue(queue);
  }

  #accepted(name: CommonName, value: number): number {
    const isVector = name === 'config_msix_vector' || name === 'queue_msix_vector';
    return isVector && value >= this.refuseVectorsFrom ? NO_VECTOR : value;
  }

  #enableQueue(value: number): void {
    if (value !== 1) this.violations.push(`queue_enable was written ${value}`);
    if (this.#bank('queue_enable')?.get('queue_reset') === 1)
      this.violations.push('a queue was enabled while it was being reset');
    this.#bank('queue_enable')?.set('queue_enable', value);
  }

  /** The registers of a queue are those of the selected one; there are none where it does not exist. */
  #bank(name: CommonName): Map<CommonName, number> | undefined {
    return PER_QUEUE.has(name) ? this.queues.at(this.registers.get('queue_select') ?? 0) : this.registers;
  }

  #commonName(offset: number, width: AccessWidth): CommonName {
    const entry = (Object.entries(COMMON) as [CommonName, readonly [number, AccessWidth]][]).find(
      ([, [at]]) => at === offset - COMMON_AT,
    );
    if (entry === undefined) throw new Error(`no register at ${offset}`);
    if (entry[1][1] !== width) this.violations.push(`${entry[0]} was accessed with ${width} bytes`);
    return entry[0];
  }

  #featureWord(word: number): number {
    return Number(((this.#options.features ?? 0n) >> BigInt(word * 32)) & 0xffff_ffffn);
  }

  #takeIsr(): number {
    const isr = this.isr;
    this.isrReads++;
    this.isr = 0;
    return isr;
  }

  #writeStatus(value: number): void {
    if (value !== 0) {
      this.#status = value;
      return;
    }
    this.pci.events.push('status 0');
    this.#resetting = this.resetDelay;
    if (this.#resetting === 0) this.#reset();
  }

  #readStatus(): number {
    if (this.#resetting > 0 && --this.#resetting === 0) this.#reset();
    return this.#status;
  }
}
