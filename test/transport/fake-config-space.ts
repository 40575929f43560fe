/** Builds configuration spaces with a list of virtio capabilities in them (VIRTIO 1.3, 4.1.4). */

/** The numbers of one virtio capability; what is left out is 0, and the length is that of its fields. */
export interface VirtioCapability {
  readonly type: number;
  readonly bar?: number;
  readonly offset?: number;
  readonly length?: number;
  readonly multiplier?: number;
  readonly capLength?: number;
  /** Another capability id than vendor-specific. */
  readonly id?: number;
}

export const TYPE = { COMMON: 1, NOTIFY: 2, ISR: 3, DEVICE: 4, PCI: 5, SHARED_MEMORY: 8, VENDOR: 9 } as const;

const STATUS = 0x06;
const CAPABILITIES_POINTER = 0x34;
const FIRST_CAPABILITY = 0x40;
const SLOT = 24;

/** Lays the capabilities out one behind the other from 0x40 on. */
export function buildConfigSpace(capabilities: readonly VirtioCapability[]): Uint8Array {
  const bytes = new Uint8Array(256);
  const view = new DataView(bytes.buffer);
  view.setUint16(0x00, 0x1af4, true);
  view.setUint16(0x02, 0x1041, true);
  if (capabilities.length === 0) return bytes;
  view.setUint16(STATUS, 0x0010, true);
  bytes[CAPABILITIES_POINTER] = FIRST_CAPABILITY;
  capabilities.forEach((capability, index) => {
    const at = slotOf(index);
    const isLast = index === capabilities.length - 1;
    bytes[at] = capability.id ?? 0x09;
    bytes[at + 1] = isLast ? 0 : slotOf(index + 1);
    bytes[at + 2] = capability.capLength ?? (capability.type === TYPE.NOTIFY ? 20 : 16);
    bytes[at + 3] = capability.type;
    bytes[at + 4] = capability.bar ?? 0;
    view.setUint32(at + 8, capability.offset ?? 0, true);
    view.setUint32(at + 12, capability.length ?? 0, true);
    view.setUint32(at + 16, capability.multiplier ?? 0, true);
  });
  return bytes;
}

/** Where in the configuration space the capability with that index lies. */
export const slotOf = (index: number): number => FIRST_CAPABILITY + index * SLOT;
