/** Reading the configuration of a device, and following its changes. */
import { describe, expect, it } from 'vitest';
import { readNetConfig } from '../../src/net/config-space.js';
import { ConfigWatch, type ConfigHooks, type LinkSpeed } from '../../src/net/config-watch.js';
import { ANNOUNCE, ConfigDevice, LINK_UP, negotiatedFeatures } from './config-device.js';
import { withCode } from './support.js';

const ALL = negotiatedFeatures(
  'VIRTIO_NET_F_MAC',
  'VIRTIO_NET_F_STATUS',
  'VIRTIO_NET_F_MTU',
  'VIRTIO_NET_F_CTRL_VQ',
  'VIRTIO_NET_F_GUEST_ANNOUNCE',
  'VIRTIO_NET_F_MQ',
  'VIRTIO_NET_F_SPEED_DUPLEX',
  'VIRTIO_NET_F_RSS',
  'VIRTIO_NET_F_HASH_TUNNEL',
);

describe('the configuration', () => {
  it('has each field where the specification has it', () => {
    const device = new ConfigDevice({
      mac: [1, 2, 3, 4, 5, 6],
      status: LINK_UP | ANNOUNCE,
      pairs: 0x8000,
      mtu: 9000,
      speed: 0x7fff_ffff,
      duplex: 1,
      keySize: 52,
      tableLength: 512,
      hashTypes: 0x3f,
      tunnelTypes: 0x1f0,
    });
    expect(readNetConfig(device.transport, ALL)).toEqual({
      mac: Uint8Array.of(1, 2, 3, 4, 5, 6),
      mtu: 9000,
      linkUp: true,
      announce: true,
      maxQueuePairs: 0x8000,
      speed: 0x7fff_ffff,
      duplex: 'full',
      hash: { maxKeySize: 52, maxTableLength: 512, hashTypes: 0x3f, tunnelTypes: 0x1f0 },
      generation: device.generation,
    });
  });

  it('is not touched where nothing was negotiated', () => {
    const device = new ConfigDevice({ status: ANNOUNCE, pairs: 0, mtu: 1, speed: 7, duplex: 1, keySize: 0 });
    expect(readNetConfig(device.transport, negotiatedFeatures())).toEqual({
      mac: undefined,
      mtu: 1500,
      linkUp: true,
      announce: false,
      maxQueuePairs: 1,
      speed: undefined,
      duplex: undefined,
      hash: undefined,
      generation: device.generation,
    });
    expect(device.reads).toEqual([]);
  });

  it('has hash fields with a hash report alone, but no indirection table', () => {
    const device = new ConfigDevice({ tableLength: 0, hashTypes: 7 });
    const features = negotiatedFeatures('VIRTIO_NET_F_HASH_REPORT');
    expect(readNetConfig(device.transport, features)).toMatchObject({
      maxQueuePairs: 1,
      hash: { maxKeySize: 40, maxTableLength: 0, hashTypes: 7, tunnelTypes: 0 },
    });
    expect(device.reads).toEqual([17, 20]);
  });

  // Proves: net/device-configuration-layout/10
  it.each([
    [0x8000_0000, 2, undefined, undefined],
    [0xffff_ffff, 0xff, undefined, undefined],
    [0, 0, 0, 'half'],
    [25_000, 1, 25_000, 'full'],
  ])('takes what is beyond the range of speed and duplex as unknown: %i, %i', (speed, duplex, told, mode) => {
    const device = new ConfigDevice({ speed, duplex });
    const features = negotiatedFeatures('VIRTIO_NET_F_SPEED_DUPLEX');
    expect(readNetConfig(device.transport, features)).toMatchObject({ speed: told, duplex: mode });
  });

  it('ignores reserved bits of the status', () => {
    const device = new ConfigDevice({ status: 0xfffc });
    expect(readNetConfig(device.transport, ALL)).toMatchObject({ linkUp: false, announce: false });
  });

  it.each([{ mtu: 67 }, { pairs: 0 }, { pairs: 0x8001 }, { keySize: 39 }, { tableLength: 127 }])(
    'is refused if it makes no sense: %o',
    (fields) => {
      const device = new ConfigDevice(fields);
      expect(() => readNetConfig(device.transport, ALL)).toThrow(withCode('DEVICE_CONFIG_INVALID'));
    },
  );

  it('is refused if it is too short for what was negotiated', () => {
    const { transport } = new ConfigDevice({}, { configLength: 27 });
    expect(() => readNetConfig(transport, ALL)).toThrow('VIRTIO_NET_F_HASH_TUNNEL');
    expect(() => readNetConfig(transport, ALL)).toThrow(withCode('DEVICE_CONFIG_INVALID'));
  });

  it('is read until it did not change meanwhile', () => {
    const device = new ConfigDevice({ mac: [1, 1, 1, 1, 1, 1] });
    let changes = 3;
    device.beforeRead = () => {
      if (changes > 0) device.set({ mac: Array.from({ length: 6 }, () => changes) });
      changes -= 1;
    };
    expect(readNetConfig(device.transport, ALL).mac).toEqual(Uint8Array.of(1, 1, 1, 1, 1, 1));
    device.beforeRead = () => (device.generation += 1);
    expect(() => readNetConfig(device.transport, ALL)).toThrow(withCode('DEVICE_CONFIG_UNSTABLE'));
  });
});

describe('the configuration of a legacy device, which has no generation', () => {
  const legacy = { legacy: true, readConfigGeneration: () => 0 };

  it('is read until two readings agree', () => {
    const device = new ConfigDevice({ mac: [1, 1, 1, 1, 1, 1] }, legacy);
    let reads = 0;
    device.beforeRead = () => {
      reads += 1;
      if (reads === 4) device.set({ mac: [2, 2, 2, 2, 2, 2] });
    };
    expect(readNetConfig(device.transport, ALL).mac).toEqual(Uint8Array.of(2, 2, 2, 2, 2, 2));
    device.beforeRead = () => device.set({ mac: [0, 0, 0, 0, 0, (reads += 1) & 0xff] });
    expect(() => readNetConfig(device.transport, ALL)).toThrow(withCode('DEVICE_CONFIG_UNSTABLE'));
  });

  it('is looked at each time, as nothing tells that it changed', () => {
    const device = new ConfigDevice({}, legacy);
    const { watch: config, told } = watch(device);
    config.look();
    device.set({ status: 0 });
    config.look();
    config.look();
    expect(told).toEqual([{ up: false }]);
  });
});

/** A watch, and what it told. */
function watch(device: ConfigDevice): { watch: ConfigWatch; told: unknown[] } {
  const told: unknown[] = [];
  const hooks: ConfigHooks = {
    link: (up) => told.push({ up }),
    mtu: (mtu) => told.push({ mtu }),
    speed: (speed: LinkSpeed) => told.push(speed),
    announce: () => told.push('announce'),
  };
  return { watch: new ConfigWatch(device.transport, ALL, hooks), told };
}

describe('a change of the configuration', () => {
  // Proves: net/device-configuration-layout/11
  it('is told field by field', () => {
    const device = new ConfigDevice({ speed: 1000, duplex: 1 });
    const { watch: config, told } = watch(device);
    config.look();
    expect(told).toEqual([]);
    device.set({ status: 0 });
    config.look();
    device.set({ speed: 0xffff_ffff, duplex: 0xff });
    config.look();
    device.set({ status: LINK_UP, mtu: 9000, speed: 100, duplex: 0 });
    config.look();
    config.look();
    expect(told).toEqual([
      { up: false },
      { speed: undefined, duplex: undefined },
      { up: true },
      { mtu: 9000 },
      { speed: 100, duplex: 'half' },
    ]);
  });

  it('asks once to announce the device, until that was done', () => {
    const device = new ConfigDevice();
    const { watch: config, told } = watch(device);
    device.set({ status: LINK_UP | ANNOUNCE });
    config.look();
    device.set({ status: ANNOUNCE });
    config.look();
    device.set({ status: LINK_UP });
    config.announced();
    device.set({ status: LINK_UP | ANNOUNCE });
    config.look();
    expect(told).toEqual(['announce', { up: false }, { up: true }, 'announce']);
  });

  it.each([
    [false, ['announce']],
    [true, ['announce', 'announce']],
  ])('asks again by another generation, where there are any: legacy %s', (legacy, asked) => {
    const device = new ConfigDevice({ status: LINK_UP | ANNOUNCE }, { legacy });
    const { watch: config, told } = watch(device);
    config.tell(config.current);
    config.announced();
    expect(told).toEqual(asked);
  });

  it('is not missed if the device asks again before it is known that it was announced', () => {
    const device = new ConfigDevice({ status: LINK_UP | ANNOUNCE });
    const { watch: config, told } = watch(device);
    config.tell(config.current);
    // The device took the acknowledgement, and asked again at once.
    device.set({ status: LINK_UP | ANNOUNCE });
    config.look();
    expect(told).toEqual(['announce']);
    config.announced();
    expect(told).toEqual(['announce', 'announce']);
  });

  it('asks anew after a reset', () => {
    const device = new ConfigDevice({ status: LINK_UP | ANNOUNCE });
    const { watch: config, told } = watch(device);
    config.tell(config.current);
    config.reset();
    config.tell(config.current);
    expect(told).toEqual(['announce', 'announce']);
  });
});
