/** The device status, and the order in which a driver sets its bits (VIRTIO 1.3, 2.1, 3.1). */
import { STATUS } from '../transport/transport.js';
import { hex } from './memory.js';
import { DriverViolation } from './violation.js';

/** The steps of initialisation, each with the one before it (VIRTIO 1.3, 3.1.1). */
type Steps = readonly (readonly [name: string, bit: number, before: number])[];

const STEPS: Steps = [
  ['ACKNOWLEDGE', STATUS.ACKNOWLEDGE, 0],
  ['DRIVER', STATUS.DRIVER, STATUS.ACKNOWLEDGE],
  ['FEATURES_OK', STATUS.FEATURES_OK, STATUS.DRIVER],
  ['DRIVER_OK', STATUS.DRIVER_OK, STATUS.FEATURES_OK],
];
/** Without FEATURES_OK (VIRTIO 1.3, 3.1.2). */
const LEGACY_STEPS: Steps = [
  ['ACKNOWLEDGE', STATUS.ACKNOWLEDGE, 0],
  ['DRIVER', STATUS.DRIVER, STATUS.ACKNOWLEDGE],
  ['DRIVER_OK', STATUS.DRIVER_OK, STATUS.DRIVER],
];
const ALL_BITS = Object.values(STATUS).reduce((bits, bit) => bits | bit, 0);

export class StatusRegister {
  readonly #steps: Steps;
  #value = 0;

  constructor(legacy: boolean) {
    this.#steps = legacy ? LEGACY_STEPS : STEPS;
  }

  get value(): number {
    return this.#value;
  }

  has(bit: number): boolean {
    return (this.#value & bit) !== 0;
  }

  clear(): void {
    this.#value = 0;
  }

  /** The device itself sets a bit. */
  set(bit: number): void {
    this.#value |= bit;
  }

  /**
   * The driver writes the status.
   *
   * @param maySet - asked about a step of initialisation before it is taken; the bit stays 0 where it says no
   * @throws DriverViolation
   */
  write(value: number, maySet: (bit: number) => boolean): void {
    if ((value & ~ALL_BITS) !== 0) throw new DriverViolation(`the status ${hex(value)} has unknown bits`);
    const cleared = this.#value & ~value & ~STATUS.DEVICE_NEEDS_RESET;
    if (cleared !== 0) throw new DriverViolation(`the driver cleared the status bits ${hex(cleared)}`);
    const added = value & ~this.#value;
    if ((added & STATUS.DEVICE_NEEDS_RESET) !== 0) {
      throw new DriverViolation('the driver set DEVICE_NEEDS_RESET, which is the device’s to set');
    }
    if (added === 0) return;
    if (this.has(STATUS.FAILED)) throw new DriverViolation('the driver went on after FAILED without a reset');
    if ((added & STATUS.FAILED) !== 0) this.set(STATUS.FAILED);
    else if (maySet(this.#checkedStep(added))) this.set(added);
  }

  #checkedStep(added: number): number {
    const step = this.#steps.find(([, bit]) => bit === added);
    if (step === undefined) throw new DriverViolation(`the driver set the status bits ${hex(added)} at once`);
    const [name, bit, before] = step;
    if (before === 0 || this.has(before)) return bit;
    const needed = this.#steps.find(([, other]) => other === before)?.[0] ?? '';
    throw new DriverViolation(`the driver set ${name} before ${needed}`);
  }
}
