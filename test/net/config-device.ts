/** The configuration space of a device, for tests: struct virtio_net_config in bytes (VIRTIO 1.3, 5.1.4). */
import type { Transport } from '../../src/index.js';
import { featureMask, type FeatureName } from '../../src/net/feature-table.js';
import { NegotiatedFeatures } from '../../src/net/features.js';
import { createSimulatedDevice } from '../../src/sim/index.js';
import { overriding } from './support.js';

export const LINK_UP = 1;
export const ANNOUNCE = 2;

export interface ConfigFields {
  mac?: readonly number[];
  status?: number;
  pairs?: number;
  mtu?: number;
  speed?: number;
  duplex?: number;
  keySize?: number;
  tableLength?: number;
  hashTypes?: number;
  tunnelTypes?: number;
}

/** A negotiation that ended with exactly these. */
export function negotiatedFeatures(...names: FeatureName[]): NegotiatedFeatures {
  const bits = names.reduce((sum, name) => sum | featureMask(name), 0n);
  return new NegotiatedFeatures(bits, bits, names, []);
}

/** A device that has nothing but a configuration. */
export class ConfigDevice {
  readonly transport: Transport;
  readonly bytes = new DataView(new ArrayBuffer(28));
  generation = 0;
  /** What was read, by offset. */
  readonly reads: number[] = [];
  /** Called before each access, so that the configuration can change in between. */
  beforeRead: () => void = () => undefined;

  constructor(fields: ConfigFields = {}, overrides: Partial<Transport> = {}) {
    this.set({ status: LINK_UP, pairs: 1, mtu: 1500, keySize: 40, tableLength: 128, ...fields });
    const plain = createSimulatedDevice().transport;
    this.transport = overriding(plain, {
      configLength: this.bytes.byteLength,
      readStatus: () => 15,
      readConfig: (offset, width) => this.read(offset, width),
      readConfigGeneration: () => this.generation,
      ...overrides,
    });
  }

  set(fields: ConfigFields): void {
    const { bytes } = this;
    fields.mac?.forEach((byte, index) => bytes.setUint8(index, byte));
    if (fields.status !== undefined) bytes.setUint16(6, fields.status, true);
    if (fields.pairs !== undefined) bytes.setUint16(8, fields.pairs, true);
    if (fields.mtu !== undefined) bytes.setUint16(10, fields.mtu, true);
    if (fields.speed !== undefined) bytes.setUint32(12, fields.speed, true);
    if (fields.duplex !== undefined) bytes.setUint8(16, fields.duplex);
    if (fields.keySize !== undefined) bytes.setUint8(17, fields.keySize);
    if (fields.tableLength !== undefined) bytes.setUint16(18, fields.tableLength, true);
    if (fields.hashTypes !== undefined) bytes.setUint32(20, fields.hashTypes, true);
    if (fields.tunnelTypes !== undefined) bytes.setUint32(24, fields.tunnelTypes, true);
    this.generation += 1;
  }

  private read(offset: number, width: 1 | 2 | 4): number {
    this.beforeRead();
    this.reads.push(offset);
    if (width === 1) return this.bytes.getUint8(offset);
    return width === 2 ? this.bytes.getUint16(offset, true) : this.bytes.getUint32(offset, true);
  }
}
