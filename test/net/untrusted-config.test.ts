/** A configuration that asks without end, or changes while a device is being brought up. */
import { expect, it } from 'vitest';
import { NetDevice, type Transport } from '../../src/index.js';
import { featureBits } from '../../src/sim/features.js';
import { createSimulatedDevice, type SimulatedDevice } from '../../src/sim/index.js';
import { ANNOUNCE, LINK_UP } from './config-device.js';
import { eventually, expectNothingLeft, overriding, withCode } from './support.js';

const STATUS_AT = 6;
const FEATURES = featureBits([
  'VIRTIO_F_VERSION_1',
  'VIRTIO_F_ACCESS_PLATFORM',
  'VIRTIO_NET_F_MAC',
  'VIRTIO_NET_F_STATUS',
  'VIRTIO_NET_F_CTRL_VQ',
  'VIRTIO_NET_F_CTRL_RX',
  'VIRTIO_NET_F_GUEST_ANNOUNCE',
]);

it('lets the program go on while a device asks to be announced again as soon as it was', async () => {
  const sim = createSimulatedDevice({ host: null, features: FEATURES });
  const { transport } = sim;
  let asked = 0;
  let generation = 0;
  const endless = overriding(transport, {
    readConfig: (offset, width) =>
      offset === STATUS_AT ? LINK_UP | (asked < 10_000 ? ANNOUNCE : 0) : transport.readConfig(offset, width),
    readConfigGeneration: () => generation,
  });
  const device = await NetDevice.open(endless);
  device.on('announce', () => {
    asked += 1;
    generation += 1;
  });
  await device.start();
  for (let turn = 0; turn < 100; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  expect(asked).toBeGreaterThan(1);
  expect(asked).toBeLessThan(1000);
  await device.close();
  expectNothingLeft(sim);
});

/** A device with a setting, to which something happens while its first start sets that. */
async function openBusy(sim: SimulatedDevice, during: () => void): Promise<NetDevice> {
  let armed = true;
  const { transport } = sim;
  const busy: Transport = overriding(transport, {
    notify: (queue, data) => {
      if (queue === 2 && armed) {
        armed = false;
        transport.notify(queue, data);
        during();
      } else transport.notify(queue, data);
    },
  });
  const device = await NetDevice.open(busy);
  await device.control.setReceiveMode({ promiscuous: true });
  return device;
}

it('tells of a change of the link that comes while the settings are set', async () => {
  const sim = createSimulatedDevice({ host: null, features: FEATURES });
  const links: boolean[] = [];
  const device = await openBusy(sim, () => sim.setLink(false));
  device.on('link', (up) => links.push(up));
  await device.start();
  await eventually(() => !device.linkUp);
  expect(links).toEqual([false]);
  await device.close();
  expectNothingLeft(sim);
});

it('fails on a device that asks for a reset while the settings are set', async () => {
  const sim = createSimulatedDevice({ host: null, features: FEATURES });
  const device = await openBusy(sim, () => sim.needsReset());
  const errors: Error[] = [];
  device.on('error', (error) => errors.push(error));
  await device.start();
  await eventually(() => device.state === 'failed');
  expect(errors).toMatchObject([withCode('DEVICE_NEEDS_RESET')]);
  await device.reset();
  expect(device.state).toBe('running');
  await device.close();
  expectNothingLeft(sim);
});

it.each([FEATURES, FEATURES & ~featureBits(['VIRTIO_NET_F_CTRL_VQ', 'VIRTIO_NET_F_CTRL_RX'])])(
  'resets a device anew that has failed while it was stopped, before its start and after: %s',
  async (features) => {
    const sim = createSimulatedDevice({ host: null, features });
    const device = await NetDevice.open(sim.transport);
    const errors: Error[] = [];
    device.on('error', (error) => errors.push(error));
    for (let time = 0; time < 2; time += 1) {
      sim.needsReset();
      await device.start();
      await device.send(new Uint8Array(60));
      device.poll();
      await device.flush();
      await device.stop();
    }
    expect(errors).toEqual([]);
    sim.needsReset();
    await device.close();
    expectNothingLeft(sim);
  },
);
