/** A BAR, opened: mapped where the kernel allows it, by system call where not. */
import { UsageError } from '../errors.js';
import type { Logger } from '../log.js';
import { pageSize } from '../native/mapped-memory.js';
import { MmioMapping } from '../native/mmio.js';
import type { BarPart, RegisterWindow } from '../pci/pci-function.js';
import type { AccessWidth } from '../transport/transport.js';
import { forEachOf } from './each.js';
import { checkAccess, readRegion, writeRegion, type RegionInfo } from './region.js';

/** What a window needs to know of the function it belongs to. */
export interface BarOwner {
  readonly address: string;
  readonly log: Logger;
  readonly deviceFd: number;
  /**
   * Whether the function decodes memory accesses. The kernel answers an access to a mapping with SIGBUS where
   * it does not, and a system call with an error: only the latter may be used then.
   */
  readonly decodesMemory: boolean;
}

interface Area {
  readonly start: number;
  readonly end: number;
  readonly mapping: MmioMapping;
}

export class BarWindow implements RegisterWindow {
  readonly size: number;
  readonly #name: string;
  readonly #owner: BarOwner;
  readonly #region: RegionInfo;
  readonly #onClose: (window: BarWindow) => void;
  #areas: Area[];
  #open = true;

  /** @param part - what is to be mapped of the BAR; whatever else of it is accessed is by system call */
  constructor(
    owner: BarOwner,
    bar: number,
    region: RegionInfo,
    onClose: (window: BarWindow) => void,
    part: BarPart = { start: 0, end: region.size },
  ) {
    this.size = region.size;
    this.#name = `BAR ${bar} of ${owner.address}`;
    this.#owner = owner;
    this.#region = region;
    this.#onClose = onClose;
    this.#areas = mapAreas(owner, this.#name, region, part);
  }

  read(offset: number, width: AccessWidth): number {
    const area = this.#locate(offset, width);
    if (area === undefined) return readRegion(this.#owner.deviceFd, this.#region, offset, width);
    return area.mapping.read(offset - area.start, width);
  }

  write(offset: number, width: AccessWidth, value: number): void {
    const area = this.#locate(offset, width);
    if (area === undefined) writeRegion(this.#owner.deviceFd, this.#region, offset, width, value);
    else area.mapping.write(offset - area.start, width, value);
  }

  share(offset: number, width: AccessWidth): number | undefined {
    const area = this.#locate(offset, width);
    return area?.mapping.share(offset - area.start, width);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    const areas = this.#areas;
    this.#areas = [];
    this.#onClose(this);
    forEachOf(areas, ({ mapping }) => mapping.close());
  }

  /** The area that the access lies in, whole; undefined where a system call has to do it. */
  #locate(offset: number, width: AccessWidth): Area | undefined {
    if (!this.#open) throw new UsageError('DEVICE_CLOSED', `${this.#name} was used after it was closed`);
    checkAccess(this.#name, this.size, offset, width);
    if (!this.#owner.decodesMemory) return undefined;
    for (const area of this.#areas) if (offset >= area.start && offset + width <= area.end) return area;
    return undefined;
  }
}

/** Maps what can be mapped. What the kernel refuses to map after all is left to system calls. */
function mapAreas(owner: BarOwner, name: string, region: RegionInfo, part: BarPart): Area[] {
  const page = pageSize();
  const from = Math.floor(part.start / page) * page;
  const to = Math.ceil(part.end / page) * page;
  const areas: Area[] = [];
  for (const range of region.mappable) {
    const [start, end] = [Math.max(range.start, from), Math.min(range.end, to)];
    if (start >= end) continue;
    try {
      const mapping = MmioMapping.map(owner.deviceFd, region.offset + start, end - start);
      areas.push({ start, end, mapping });
    } catch (error) {
      owner.log.warn({ err: error, start, end }, `${name} could not be mapped: accesses will be slow`);
    }
  }
  return areas;
}
