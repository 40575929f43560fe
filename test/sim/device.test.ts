import { afterEach, describe, expect, it } from 'vitest';
import {
  buildArpRequest,
  buildIcmpEcho,
  parseIpv4,
  parseMac,
  readArpFrame,
  readEchoFrame,
} from '../../src/packet/index.js';
import { createSimulatedDevice, type SimulatedDevice } from '../../src/sim/index.js';
import {
  ACKNOWLEDGE,
  DRIVER,
  DRIVER_OK,
  FAILED,
  FEATURES_OK,
  INDIRECT,
  NEEDS_RESET,
  NEXT,
  PLAIN,
  RX,
  SLOT,
  TX,
  WITH_INDIRECT,
  WRITE,
  bits,
  bringUp,
  frameOf,
  negotiate,
  recorder,
  turn,
  writeEntry,
} from './support.js';

const GUEST = { mac: parseMac('52:54:00:12:34:56'), ip: parseIpv4('10.0.2.15') };
const HOST = { mac: parseMac('52:55:0a:00:02:02'), ip: parseIpv4('10.0.2.2') };
const RUNNING = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;

let device: SimulatedDevice;

function make(options: Parameters<typeof createSimulatedDevice>[0] = {}): SimulatedDevice {
  device = createSimulatedDevice({ isolation: true, ...options });
  return device;
}

afterEach(async () => {
  device.transport.writeStatus(0);
  await device.transport.close();
});

describe('a simulated device', () => {
  it('is initialised in the order of the specification', () => {
    make();
    const { transport } = device;
    expect(transport.readStatus()).toBe(0);
    const offered = [
      'VIRTIO_F_VERSION_1',
      'VIRTIO_F_ACCESS_PLATFORM',
      'VIRTIO_F_RING_EVENT_IDX',
      'VIRTIO_F_RING_INDIRECT_DESC',
    ] as const;
    expect(transport.readDeviceFeatures()).toBe(
      bits(...offered, 'VIRTIO_NET_F_MAC', 'VIRTIO_NET_F_STATUS', 'VIRTIO_NET_F_MTU'),
    );
    bringUp(device);
    expect(transport.readStatus()).toBe(RUNNING);
    expect(device.violations).toEqual([]);
  });

  it('says what it is', () => {
    make({ name: 'nic0', queueSize: 1024 });
    expect(device.transport).toMatchObject({ kind: 'simulated', name: 'nic0', queueCount: 2 });
    expect([0, 1, 2, -1].map((queue) => device.transport.maxQueueSize(queue))).toEqual([1024, 1024, 0, 0]);
  });

  it('gives the driver’s frames to the wire and the buffers back', () => {
    make({ host: null });
    const sent: Uint8Array[] = [];
    const stop = device.onTransmit((frame) => sent.push(frame));
    const { tx } = bringUp(device);
    tx.send(3, frameOf(60));
    expect(sent).toEqual([frameOf(60)]);
    expect(tx.collect()).toEqual([{ id: 3, length: 0 }]);
    stop();
    tx.send(4, frameOf(61));
    expect(sent).toHaveLength(1);
    expect(device.statistics).toMatchObject({
      transmittedFrames: 2,
      transmittedBytes: 121,
      notifications: 2,
    });
    expect(device.violations).toEqual([]);
  });

  it('gives copies to the wire', () => {
    make({ host: null });
    const sent: Uint8Array[] = [];
    device.onTransmit((frame) => sent.push(frame));
    const { tx } = bringUp(device);
    tx.send(0, frameOf(60));
    tx.slot(0).fill(0);
    expect(sent).toEqual([frameOf(60)]);
  });

  it('gives each listener, and the host, a copy of its own', () => {
    const seen: Uint8Array[] = [];
    const see = (frame: Uint8Array): void => {
      seen.push(frame.slice());
      frame.fill(0);
    };
    make({ host: { receive: see } });
    device.onTransmit((frame) => see(frame));
    device.onTransmit((frame) => see(frame));
    bringUp(device).tx.send(0, frameOf(60));
    expect(seen).toEqual([frameOf(60), frameOf(60), frameOf(60)]);
  });

  it('answers an ARP request within the notification', () => {
    make();
    const { rx, tx } = bringUp(device);
    rx.post(0, 1);
    tx.send(0, buildArpRequest({ senderMac: GUEST.mac, senderIp: GUEST.ip, targetIp: HOST.ip }));
    const [reply] = rx.receive();
    expect(reply.numBuffers).toBe(1);
    expect(readArpFrame(reply.frame)).toMatchObject({ operation: 2, senderMac: HOST.mac, senderIp: HOST.ip });
    expect(device.violations).toEqual([]);
  });

  it('answers pings of any size', () => {
    make();
    const { rx, tx } = bringUp(device);
    for (const [index, size] of [0, 1, 56, 1471, 1472].entries()) {
      rx.post(index);
      const data = frameOf(size);
      const from = { sourceMac: GUEST.mac, sourceIp: GUEST.ip };
      const to = { destinationMac: HOST.mac, destinationIp: HOST.ip };
      tx.send(index, buildIcmpEcho({ ...from, ...to, identifier: 7, sequence: index, data }));
      const [{ frame }] = rx.receive();
      const reply = readEchoFrame(frame);
      expect(reply?.echo).toMatchObject({ type: 0, identifier: 7, sequence: index });
      expect(frame.slice(reply?.echo.payloadOffset)).toEqual(data);
    }
    expect(device.violations).toEqual([]);
  });

  it('puts a frame from the wire into the oldest receive buffer', () => {
    make();
    const { rx } = bringUp(device);
    rx.post(5, 2);
    expect(device.inject(frameOf(100))).toBe(true);
    expect(device.inject(frameOf(200))).toBe(true);
    expect(rx.collect()).toEqual([
      { id: 5, length: 112 },
      { id: 2, length: 212 },
    ]);
    expect(rx.slot(5).slice(0, 12)).toEqual(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    expect(rx.slot(2).slice(12, 212)).toEqual(frameOf(200));
    expect(
      rx
        .slot(2)
        .slice(212)
        .every((byte) => byte === 0),
    ).toBe(true);
    expect(device.statistics).toMatchObject({ receivedFrames: 2, receivedBytes: 300 });
  });

  it('counts the frames from the wire that it had to drop, by reason', () => {
    make();
    expect(device.inject(frameOf(60))).toBe(false);
    const { rx } = bringUp(device);
    expect(device.inject(frameOf(60))).toBe(false);
    rx.post(0);
    expect(device.inject(frameOf(1519))).toBe(false);
    device.setLink(false);
    expect(device.inject(frameOf(60))).toBe(false);
    device.setLink(true);
    expect(device.inject(frameOf(1518))).toBe(true);
    const drops = { dropsNotReady: 1, dropsNoBuffer: 1, dropsTooLong: 1, dropsLinkDown: 1 };
    expect(device.statistics).toMatchObject({ ...drops, receivedFrames: 1 });
    expect(() => device.inject(new Uint8Array(13))).toThrow(
      expect.objectContaining({ code: 'FRAME_TOO_SHORT' }),
    );
  });

  it('keeps a receive buffer that a frame does not fit into for the next', () => {
    make();
    const { rx } = bringUp(device);
    rx.describe(0, { address: rx.addressOfSlot(0), length: 72, flags: WRITE });
    rx.offer(0);
    expect(device.inject(frameOf(61))).toBe(false);
    expect(device.inject(frameOf(60))).toBe(true);
    expect(rx.collect()).toEqual([{ id: 0, length: 72 }]);
    expect(device.statistics).toMatchObject({ dropsNoBuffer: 1, receivedFrames: 1 });
  });

  it('spreads a frame over several buffers where they may be merged', () => {
    const features = ['VIRTIO_F_VERSION_1', 'VIRTIO_F_ACCESS_PLATFORM', 'VIRTIO_NET_F_MRG_RXBUF'] as const;
    make({ features });
    const { rx } = bringUp(device, { features: bits(...features) });
    for (const index of [0, 1, 2]) {
      rx.describe(index, { address: rx.addressOfSlot(index), length: 100, flags: WRITE });
    }
    rx.offer(0, 1, 2);
    expect(device.inject(frameOf(289))).toBe(false);
    expect(device.inject(frameOf(200))).toBe(true);
    expect(rx.collect()).toEqual([
      { id: 0, length: 100 },
      { id: 1, length: 100 },
      { id: 2, length: 12 },
    ]);
    expect(rx.slot(0)[10]).toBe(3);
    const frame = [...rx.slot(0).slice(12, 100), ...rx.slot(1).slice(0, 100), ...rx.slot(2).slice(0, 12)];
    expect(Uint8Array.from(frame)).toEqual(frameOf(200));
    expect(device.violations).toEqual([]);
  });

  it('takes chains, wherever the header ends', () => {
    make({ host: null });
    const sent: Uint8Array[] = [];
    device.onTransmit((frame) => sent.push(frame));
    const { rx, tx } = bringUp(device);
    tx.slot(6).set(frameOf(60), 4);
    tx.describe(2, { address: tx.addressOfSlot(2), length: 8, flags: NEXT, next: 6 });
    tx.describe(6, { address: tx.addressOfSlot(6), length: 34, flags: NEXT, next: 1 });
    tx.describe(1, { address: tx.addressOfSlot(6) + 34, length: 30 });
    tx.offer(2);
    tx.notify();
    expect(sent).toEqual([frameOf(60)]);
    expect(tx.collect()).toEqual([{ id: 2, length: 0 }]);

    rx.describe(0, { address: rx.addressOfSlot(0), length: 12, flags: WRITE | NEXT, next: 7 });
    rx.describe(7, { address: rx.addressOfSlot(7), length: SLOT, flags: WRITE });
    rx.offer(0);
    device.inject(frameOf(77));
    expect(rx.collect()).toEqual([{ id: 0, length: 89 }]);
    expect(rx.slot(7).slice(0, 77)).toEqual(frameOf(77));

    for (const head of [1, 6, 2]) tx.send(head, frameOf(60));
    expect(tx.collect().map(({ id }) => id)).toEqual([1, 6, 2]);
    expect(device.violations).toEqual([]);
  });

  it('takes indirect tables, alone and at the end of a chain', () => {
    make({ host: null });
    const sent: Uint8Array[] = [];
    device.onTransmit((frame) => sent.push(frame));
    const { tx } = bringUp(device, { features: WITH_INDIRECT });
    tx.slot(0).set(frameOf(60), 12);
    const table = new DataView(tx.buffers.buffer, SLOT * 5, SLOT);
    writeEntry(table, 0, { address: tx.addressOfSlot(0), length: 12, flags: NEXT, next: 2 });
    writeEntry(table, 2, { address: tx.addressOfSlot(0) + 12, length: 60 });
    tx.describe(4, { address: tx.addressOfSlot(5), length: 48, flags: INDIRECT });
    tx.offer(4);
    tx.notify();
    writeEntry(table, 0, { address: tx.addressOfSlot(0) + 12, length: 60 });
    tx.describe(3, { address: tx.addressOfSlot(0), length: 12, flags: NEXT, next: 4 });
    tx.offer(3);
    tx.notify();
    expect(sent).toEqual([frameOf(60), frameOf(60)]);
    expect(tx.collect().map(({ id }) => id)).toEqual([4, 3]);
    expect(device.violations).toEqual([]);
  });

  it('tells the entries of indirect tables from those of the ring', () => {
    make({ host: null });
    const { rx } = bringUp(device, { features: WITH_INDIRECT });
    for (const [head, slot] of [
      [0, 4],
      [1, 5],
    ]) {
      const table = new DataView(rx.buffers.buffer, SLOT * slot, SLOT);
      writeEntry(table, 0, {
        address: rx.addressOfSlot(slot) + 64,
        length: 12,
        flags: WRITE | NEXT,
        next: 1,
      });
      writeEntry(table, 1, { address: rx.addressOfSlot(slot) + 76, length: 1600, flags: WRITE });
      rx.describe(head, { address: rx.addressOfSlot(slot), length: 32, flags: INDIRECT });
    }
    rx.offer(0, 1);
    rx.notify();
    expect(device.inject(frameOf(60)) && device.inject(frameOf(61))).toBe(true);
    expect(rx.collect()).toEqual([
      { id: 0, length: 72 },
      { id: 1, length: 73 },
    ]);
    expect(rx.slot(5).slice(76, 137)).toEqual(frameOf(61));
    expect(device.violations).toEqual([]);
  });

  it.each([1, 2, 8])('goes on when the 16-bit indexes wrap, with %i entries', (size) => {
    make({ host: null, isolation: false });
    const { rx, tx } = bringUp(device, { size });
    const frame = frameOf(60);
    for (let count = 0; count < 66_000; count++) {
      tx.send(count % size, frame);
      rx.post(count % size);
      device.inject(frame);
      if (tx.collect()[0]?.id !== count % size || rx.collect()[0]?.length !== 72) expect.fail(`at ${count}`);
    }
    expect(tx.usedIndex).toBe(66_000 - 65_536);
    expect(device.statistics).toMatchObject({ transmittedFrames: 66_000, receivedFrames: 66_000 });
    expect(device.violations).toEqual([]);
  });

  it('takes a whole ring in one notification', () => {
    make({ host: null });
    const { tx } = bringUp(device);
    for (let index = 0; index < 8; index++) tx.put(index, frameOf(60 + index));
    tx.notify();
    expect(tx.collect().map(({ id }) => id)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(device.statistics).toMatchObject({ transmittedFrames: 8, notifications: 1 });
  });

  it('keeps transmit buffers while they are held', () => {
    make({ host: null });
    const { tx } = bringUp(device);
    device.holdTransmit(true);
    tx.send(0, frameOf(60));
    tx.send(1, frameOf(60));
    expect(device.statistics.transmittedFrames).toBe(2);
    expect(tx.collect()).toEqual([]);
    device.holdTransmit(false);
    expect(tx.collect().map(({ id }) => id)).toEqual([0, 1]);
    expect(device.violations).toEqual([]);
  });

  it('returns no held buffer when it has stopped working', () => {
    make({ host: null });
    const { tx } = bringUp(device);
    device.holdTransmit(true);
    tx.send(0, frameOf(60));
    device.needsReset();
    device.holdTransmit(false);
    expect(tx.collect()).toEqual([]);
    expect(device.violations).toEqual([]);
  });

  it('lets a listener send from within a notification', () => {
    make({ host: null });
    const { tx } = bringUp(device);
    const sent: number[] = [];
    device.onTransmit((frame) => {
      sent.push(frame.length);
      if (sent.length === 1) tx.send(5, frameOf(99));
    });
    tx.put(0, frameOf(60));
    tx.put(1, frameOf(61));
    tx.notify();
    expect(sent).toEqual([60, 99, 61]);
    expect(tx.collect().map(({ id }) => id)).toEqual([0, 1, 5]);
    expect(device.violations).toEqual([]);
  });

  it('drops what is sent while the link is down, and gives the buffers back', () => {
    make({ linkUp: false });
    const { tx } = bringUp(device);
    expect(device.linkUp).toBe(false);
    tx.send(0, frameOf(60));
    expect(tx.collect()).toHaveLength(1);
    expect(device.statistics).toMatchObject({ transmitDrops: 1, transmittedFrames: 0 });
  });
});

describe('its configuration', () => {
  it('holds what the specification lays out', () => {
    make({ mac: '02:11:22:33:44:55', mtu: 9000 });
    const { transport } = device;
    expect(transport.configLength).toBe(12);
    expect([0, 1, 2, 3, 4, 5].map((at) => transport.readConfig(at, 1))).toEqual([2, 17, 34, 51, 68, 85]);
    expect(transport.readConfig(0, 4)).toBe(0x33221102);
    expect(transport.readConfig(6, 2)).toBe(1);
    expect(transport.readConfig(10, 2)).toBe(9000);
    expect(device.violations).toEqual([]);
  });

  it('is as long as the features ask for', () => {
    make({ features: ['VIRTIO_F_VERSION_1', 'VIRTIO_NET_F_MAC'] });
    expect(device.transport.configLength).toBe(6);
  });

  it.each([
    [12, 1],
    [10, 4],
    [1, 2],
    [-1, 1],
  ] as const)('refuses a read at %i of %i bytes', (offset, width) => {
    make();
    expect(() => device.transport.readConfig(offset, width)).toThrow(RangeError);
  });

  it('tells a running driver of a change, and changes the generation', async () => {
    make();
    const { calls, handlers } = recorder();
    const { transport } = bringUp(device, { handlers });
    const generation = transport.readConfigGeneration();
    device.setLink(false);
    expect(calls).toEqual([]);
    await turn();
    expect(calls).toEqual(['config']);
    expect(transport.readConfig(6, 2)).toBe(0);
    expect(transport.readConfigGeneration()).not.toBe(generation);
    device.setLink(false);
    device.setMtu(1400);
    await turn();
    expect(calls).toEqual(['config', 'config']);
    expect(transport.readConfig(10, 2)).toBe(1400);
    expect(device.statistics.configInterrupts).toBe(2);
  });

  it('does not interrupt a driver that is not ready', async () => {
    make();
    const { calls, handlers } = recorder();
    negotiate(device.transport, PLAIN);
    device.transport.enableInterrupts(2, handlers);
    device.setLink(false);
    device.needsReset();
    await turn();
    expect(calls).toEqual([]);
  });
});

describe('its reset', () => {
  it('brings everything back to the start', () => {
    make();
    const { transport, rx, tx } = bringUp(device);
    rx.post(0);
    tx.send(0, frameOf(60));
    transport.writeStatus(0);
    expect(transport.readStatus()).toBe(0);
    expect(device.inject(frameOf(60))).toBe(false);
    rx.free();
    tx.free();
    const again = bringUp(device, { features: WITH_INDIRECT });
    again.tx.send(0, frameOf(60));
    expect(again.tx.collect()).toEqual([{ id: 0, length: 0 }]);
    expect(device.violations).toEqual([]);
  });

  it('forgets the features that were chosen', () => {
    make();
    const { transport } = bringUp(device);
    for (const status of [0, 1, 3, 11]) transport.writeStatus(status);
    expect(transport.readStatus()).toBe(ACKNOWLEDGE | DRIVER);
  });

  it('comes after DEVICE_NEEDS_RESET, which interrupts and stops the device', async () => {
    make();
    const { calls, handlers } = recorder();
    const { transport, rx, tx } = bringUp(device, { handlers });
    rx.post(0);
    device.needsReset();
    expect(transport.readStatus()).toBe(RUNNING | NEEDS_RESET);
    tx.send(0, frameOf(60));
    expect(tx.collect()).toEqual([]);
    expect(device.inject(frameOf(60))).toBe(false);
    await turn();
    expect(calls).toEqual(['config']);
    transport.writeStatus(0);
    expect(transport.readStatus()).toBe(0);
    const again = bringUp(device);
    again.tx.send(0, frameOf(60));
    expect(again.tx.collect()).toHaveLength(1);
    expect(device.violations).toEqual([]);
  });

  it('is needed after FAILED', () => {
    make();
    const { transport } = device;
    transport.writeStatus(ACKNOWLEDGE);
    transport.writeStatus(ACKNOWLEDGE | FAILED);
    expect(transport.readStatus()).toBe(ACKNOWLEDGE | FAILED);
    expect(device.violations).toEqual([]);
    transport.writeStatus(ACKNOWLEDGE | FAILED | DRIVER);
    expect(device.violations).toEqual(['the driver went on after FAILED without a reset']);
  });
});

describe('its transport', () => {
  it('is one until it is closed, and then a new one', async () => {
    make();
    const { transport } = device;
    expect(device.openCount).toBe(1);
    expect(device.transport).toBe(transport);
    await transport.close();
    await transport.close();
    expect(device.openCount).toBe(0);
    expect(() => transport.readStatus()).toThrow(expect.objectContaining({ code: 'DEVICE_CLOSED' }));
    expect(() => transport.notify(TX)).toThrow(expect.objectContaining({ code: 'DEVICE_CLOSED' }));
    expect(device.transport).not.toBe(transport);
    expect(device.violations).toEqual([]);
  });

  it('is not closed over a device that runs', async () => {
    make();
    const { transport } = bringUp(device);
    await transport.close();
    expect(device.violations).toEqual(['the transport was closed before the device was reset']);
    expect(device.transport.readStatus()).toBe(0);
  });

  it('has no other queues', () => {
    make();
    const { rx } = bringUp(device);
    const unavailable: unknown = expect.objectContaining({ code: 'DEVICE_QUEUE_UNAVAILABLE' });
    expect(() => device.transport.enableQueue(2, rx.layout)).toThrow(unavailable);
    expect(() => device.transport.enableQueue(-1, rx.layout)).toThrow(unavailable);
    expect(RX).toBe(0);
  });
});

describe('its options', () => {
  it.each([
    { mac: 'nonsense' },
    { mtu: 67 },
    { mtu: 65_536 },
    { queueSize: 3 },
    { queueSize: 0 },
    { queueSize: 65_536 },
    { vectors: -1 },
    { interruptDelayMs: Number.NaN },
    { memoryLimit: -1 },
    { features: ['NO_SUCH_FEATURE' as 'VIRTIO_NET_F_MAC'] },
  ])('are checked: %j', (options) => {
    make();
    const code: unknown = expect.stringMatching(/^(OPTION_INVALID|ADDRESS_MALFORMED)$/);
    expect(() => createSimulatedDevice(options)).toThrow(expect.objectContaining({ code }));
  });
});
