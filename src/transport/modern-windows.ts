/** The windows onto the structures of a modern device: of each only as much as is used (VIRTIO 1.3, 4.1.4). */
import type { PciFunction, RegisterWindow } from '../pci/pci-function.js';
import type { VirtioStructure, VirtioStructures } from './virtio-capabilities.js';

/** More than the registers of the common configuration and those of any network card's configuration, in bytes. */
const MOST_USED = 4096;
/** What one window onto the notification structure shows: as much as the hardware can map at the least, in bytes. */
const PAGE = 4096;

/** The structures that have one window each. */
type Name = 'common' | 'isr' | 'device';

export class ModernWindows {
  readonly #function: PciFunction;
  readonly #structures: VirtioStructures;
  readonly #byName = new Map<Name, RegisterWindow>();
  /** By the page of the BAR that they begin on. */
  readonly #notify = new Map<number, RegisterWindow>();

  /** Opens one for each structure but that for notifications; all or none. */
  constructor(pciFunction: PciFunction, structures: VirtioStructures) {
    this.#function = pciFunction;
    this.#structures = structures;
    try {
      this.#open('common', structures.common);
      this.#open('isr', structures.isr);
      if (structures.device !== undefined) this.#open('device', structures.device);
    } catch (error) {
      for (const window of this.all) window.close();
      throw error;
    }
  }

  get all(): RegisterWindow[] {
    return [...this.#byName.values(), ...this.#notify.values()];
  }

  get(name: Name): RegisterWindow {
    const window = this.#byName.get(name);
    if (window === undefined) throw new RangeError(`${this.#function.address} has no ${name} structure`);
    return window;
  }

  /** A window in which `offset` of the BAR of notifications can be written: a device may have a page for each queue. */
  notify(offset: number): RegisterWindow {
    const start = Math.floor(offset / PAGE) * PAGE;
    const known = this.#notify.get(start);
    if (known !== undefined) return known;
    const window = this.#function.openBar(this.#structures.notify.bar, { start, end: start + PAGE });
    this.#notify.set(start, window);
    return window;
  }

  #open(name: Name, { bar, offset, length }: VirtioStructure): void {
    const end = offset + Math.min(length, MOST_USED);
    this.#byName.set(name, this.#function.openBar(bar, { start: offset, end }));
  }
}
