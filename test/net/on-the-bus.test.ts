/** The whole driver on a modern PCI device, as it looks from the bus: each access to a register, in order. */
import { describe, expect, it } from 'vitest';
import { NetDevice, type NetDeviceOptions } from '../../src/index.js';
import { SILENT } from '../../src/log.js';
import { ModernPciTransport } from '../../src/transport/modern-pci.js';
import { PlainMemory } from '../support/plain-memory.js';
import type { BusAccess } from '../transport/fake-pci-function.js';
import {
  COMMON,
  DEVICE_AT,
  FakeVirtioDevice,
  ISR_AT,
  NOTIFY_AT,
  type FakeDeviceOptions,
} from '../transport/fake-virtio-device.js';
import { numberedFrame } from './support.js';

const ESSENTIALS = (1n << 32n) | (1n << 33n);
const MAC = 1n << 5n;
const MTU = 1n << 3n;
const STATUS = 1n << 16n;
const EVENT_IDX = 1n << 29n;
const PACKED = 1n << 34n;
/** What the fake device can do, and a feature that nobody has heard of. */
const OFFERED = ESSENTIALS | MAC | MTU | STATUS | EVENT_IDX | PACKED | (1n << 49n);
const FEATURES_OK = 11;
const DRIVER_OK = 15;
/** In struct virtio_pci_cap of the window onto the BARs: pci_cfg_data. */
const PCI_CFG_DATA = 16;

/** struct virtio_net_config with an MTU of 1500, and more behind it. */
function netConfig(length: number): Uint8Array {
  const config = new Uint8Array(length);
  config.set([0x52, 0x54, 0, 0x12, 0x34, 0x56, 1, 0, 2, 0, 0xdc, 0x05]);
  return config;
}

interface Life {
  readonly device: FakeVirtioDevice;
  /** Accesses to BARs, in order, and offsets in configuration space that were read. */
  readonly accesses: readonly BusAccess[];
  readonly configReads: readonly number[];
}

/** Opens the device, starts it, sends frames, lets it interrupt, and closes it. */
async function live(fake: FakeDeviceOptions = {}, options: NetDeviceOptions = {}): Promise<Life> {
  const device = new FakeVirtioDevice({ features: OFFERED, config: netConfig(64), ...fake });
  const memory = new PlainMemory();
  device.pci.memory = memory;
  const configReads: number[] = [];
  const readConfig = device.pci.readConfig.bind(device.pci);
  device.pci.readConfig = (offset, width) => {
    configReads.push(offset);
    return readConfig(offset, width);
  };
  const net = await NetDevice.open(new ModernPciTransport(device.pci, { log: SILENT }), {
    drainTimeout: 0,
    ...options,
  });
  net.on('frame', () => undefined);
  await net.start();
  for (let n = 0; n < 3; n += 1) await net.send(numberedFrame(n));
  for (const handler of device.pci.handlers) handler();
  await net.close();
  expect(memory.allocatedBytes).toBe(0);
  return { device, accesses: device.pci.accesses, configReads };
}

const isWrite = ({ kind }: BusAccess): boolean => kind === 'write';
const isTo =
  (name: keyof typeof COMMON) =>
  ({ offset }: BusAccess): boolean =>
    offset === COMMON[name][0];
const isInConfig = ({ offset }: BusAccess): boolean => offset >= DEVICE_AT && offset < NOTIFY_AT;

/** Fields of the device configuration that were read, as offset and width, in the order of their offsets. */
function fieldsRead({ accesses }: Life): string[] {
  const reads = accesses.filter(isInConfig).sort((one, other) => one.offset - other.offset);
  return [...new Set(reads.map(({ offset, width }) => `${offset - DEVICE_AT}:${width}`))];
}
const MAC_BYTES = ['0:1', '1:1', '2:1', '3:1', '4:1', '5:1'];

describe.each([
  ['packed', {}],
  ['split', { features: { unwanted: ['VIRTIO_F_RING_PACKED'] } }],
] as const)('a life on %s rings', (_, options) => {
  // Proves: core/device-initialization/1, core/device-initialization/3, core/device-initialization/6,
  //   core/device-status-field/1, core/device-status-field/2, core/device-suspend/1
  it('is begun in the order of the specification', async () => {
    const { accesses } = await live({}, options);
    const statuses = accesses.filter((one) => isWrite(one) && isTo('device_status')(one));
    const values = statuses.map(({ value }) => value);
    expect(values.slice(0, 5)).toEqual([0, 1, 3, FEATURES_OK, DRIVER_OK]);
    // What is left is resets.
    expect(new Set(values.slice(5))).toEqual(new Set([0]));

    const at = (status: number): number =>
      accesses.findIndex((one) => statuses.includes(one) && one.value === status);
    const positions = (select: (one: BusAccess) => boolean): number[] =>
      accesses.flatMap((one, index) => (select(one) ? [index] : []));
    const within = (found: number[], from: number, to: number): void => {
      expect(found).not.toEqual([]);
      expect(found.filter((index) => index <= from || index >= to)).toEqual([]);
    };
    within(positions(isTo('device_feature')), at(3), at(FEATURES_OK));
    within(positions(isTo('driver_feature')), at(3), at(FEATURES_OK));
    expect(accesses[at(FEATURES_OK) + 1]).toMatchObject({ kind: 'read', value: FEATURES_OK });
    expect(isTo('device_status')(accesses[at(FEATURES_OK) + 1])).toBe(true);
    within(positions(isTo('queue_size')), at(FEATURES_OK), at(DRIVER_OK));
    within(
      positions((one) => isWrite(one) && isTo('queue_enable')(one)),
      at(FEATURES_OK),
      at(DRIVER_OK),
    );
    within(
      positions(({ offset }) => offset >= NOTIFY_AT),
      at(DRIVER_OK),
      accesses.length,
    );
  });

  // Proves: pci/pci-device-layout/1, net/device-configuration-layout/1, core/device-initialization/2,
  //   pci/virtio-structure-pci-capabilities/7, pci/common-configuration-structure-layout/1,
  //   pci/common-configuration-structure-layout/6, pci/pci-configuration-access-capability/1,
  //   pci/pci-configuration-access-capability/2
  it('accesses each field with its width, and writes only what it may', async () => {
    // A write to the PCI configuration space throws.
    const life = await live({}, options);
    expect(life.device.violations).toEqual([]);
    expect(fieldsRead(life)).toEqual([...MAC_BYTES, '6:2', '10:2']);
    expect(life.accesses.filter((one) => isWrite(one) && isInConfig(one))).toEqual([]);
    const window = life.device.pci.config.findIndex(
      (id, at) => at >= 0x40 && id === 9 && life.device.pci.config[at + 3] === 5,
    );
    expect(window).toBeGreaterThan(0);
    expect(life.configReads).not.toContain(window + PCI_CFG_DATA);
  });

  // Proves: pci/isr-status-capability/1
  it('leaves the ISR status alone, as MSI-X tells more', async () => {
    const { accesses, device } = await live({}, options);
    expect(device.pci.events).toContain('enable 3 vectors');
    expect(accesses.filter(({ offset }) => offset >= ISR_AT && offset < DEVICE_AT)).toEqual([]);
  });

  // Proves: net/packet-receive-filtering/1, net/packet-receive-filtering/2, net/setting-mac-address-filtering/1,
  //   net/setting-offloads-state/1, net/setting-rss-parameters/1, net/rss-context/1, net/inner-header-hash/1,
  //   net/notifications-coalescing/2, net/notifications-coalescing/3
  it('issues no command, since it enables no other queue than one to receive and one to transmit', async () => {
    const { accesses, device } = await live({ queueSizes: [256, 256, 64, 64] }, options);
    const enabled: number[] = [];
    let selected = 0;
    for (const one of accesses.filter(isWrite)) {
      if (isTo('queue_select')(one)) selected = one.value;
      if (isTo('queue_enable')(one)) enabled.push(selected);
    }
    expect(enabled).toEqual([0, 1]);
    expect(new Set(device.notified)).toEqual(new Set([0, 1]));
  });
});

describe('the configuration of the device', () => {
  // Proves: core/device-configuration-space/2
  it.each([
    ['nothing', 0n, []],
    ['MAC', MAC, MAC_BYTES],
    ['MTU', MTU, ['10:2']],
    ['STATUS', STATUS, ['6:2']],
    ['STATUS and MTU', STATUS | MTU, ['6:2', '10:2']],
  ])('is read no further than what is offered: %s', async (_, features, fields) => {
    expect(fieldsRead(await live({ features: ESSENTIALS | features }))).toEqual(fields);
  });

  it('is not read where the feature was left out, though it is offered', async () => {
    const life = await live({}, { features: { wanted: ['VIRTIO_F_ACCESS_PLATFORM', 'VIRTIO_NET_F_MTU'] } });
    expect(fieldsRead(life)).toEqual(['10:2']);
  });

  // Proves: core/device-configuration-space/3, core/device-configuration-space/4
  it.each([12, 13, 60, 64, 500, 4096])(
    'may be %i bytes long, as long as it holds what is needed',
    async (length) => {
      const life = await live({ config: netConfig(length) });
      expect(fieldsRead(life)).toHaveLength(8);
    },
  );
});
