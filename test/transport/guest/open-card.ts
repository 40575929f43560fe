/** In the guest: opens real virtio network cards through VFIO and looks at their registers. */
import { SILENT } from '../../../src/log.js';
import { findPciDevice } from '../../../src/pci/sysfs.js';
import { openPciTransport, type OpenPciOptions } from '../../../src/transport/open-pci.js';
import { STATUS, type QueueLayout, type Transport } from '../../../src/transport/transport.js';
import { failureOf, report } from '../../vm/guest/report.js';

const CARD = '0000:00:10.0';
const WITHOUT_VECTORS = '0000:00:11.0';
const TRANSITIONAL = '0000:00:12.0';
const LEGACY = '0000:00:13.0';
const PIO_NOTIFY = '0000:00:14.0';
const TWO_VECTORS = '0000:00:15.0';
const HOST_BRIDGE = '0000:00:00.0';
const NOWHERE = '0000:00:1e.7';
const RING_BYTES = 4096;

const open = (address: string, options: Partial<OpenPciOptions> = {}): Promise<Transport> =>
  openPciTransport(address, { log: SILENT, ...options });
const driverOf = async (address: string): Promise<string | null> =>
  (await findPciDevice(address)).driver ?? null;

/** Brings a device to FEATURES_OK with the bits that any modern driver takes. */
async function negotiate(transport: Transport): Promise<void> {
  transport.writeStatus(0);
  while (transport.readStatus() !== 0) await new Promise(setImmediate);
  transport.writeStatus(STATUS.ACKNOWLEDGE);
  transport.writeStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER);
  const MAC_STATUS = (1n << 5n) | (1n << 16n);
  const VERSION_1_ACCESS_PLATFORM_RING_RESET = (1n << 32n) | (1n << 33n) | (1n << 40n);
  const wanted = MAC_STATUS | VERSION_1_ACCESS_PLATFORM_RING_RESET;
  transport.writeDriverFeatures(transport.readDeviceFeatures() & wanted);
  transport.writeStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK);
}

const DRIVER_OK = STATUS.ACKNOWLEDGE | STATUS.DRIVER | STATUS.FEATURES_OK | STATUS.DRIVER_OK;

function layoutIn(transport: Transport, size: number): { layout: QueueLayout; free: () => void } {
  const region = transport.memory.allocate(4 * RING_BYTES);
  const layout = {
    size,
    descriptorArea: region.addressOf(0),
    driverArea: region.addressOf(RING_BYTES),
    deviceArea: region.addressOf(2 * RING_BYTES),
  };
  return { layout, free: () => region.free() };
}

async function readRegisters(transport: Transport): Promise<void> {
  const features = transport.readDeviceFeatures();
  report(
    'features',
    [5n, 16n, 32n, 33n].map((bit) => (features & (1n << bit)) !== 0n),
  );
  report(
    'mac',
    Array.from({ length: 6 }, (_, at) => transport.readConfig(at, 1)),
  );
  report('queues', [transport.queueCount, ...[0, 1, 2, 3].map((queue) => transport.maxQueueSize(queue))]);
  report('generation', Number.isInteger(transport.readConfigGeneration()));
  await negotiate(transport);
  report('status', transport.readStatus());
}

/** Waits for the interrupt that says that the link has changed, which the test makes the machine do. */
async function watchLink(transport: Transport): Promise<void> {
  const LINK_STATUS = 6;
  const changed = new Promise<void>((resolve) => {
    transport.enableInterrupts(2, { config: resolve, queue: () => undefined });
  });
  const queues = [0, 1].map((queue) => {
    const { layout, free } = layoutIn(transport, 128);
    transport.enableQueue(queue, layout);
    return free;
  });
  transport.writeStatus(DRIVER_OK);
  transport.notify(1);
  report('link before', transport.readConfig(LINK_STATUS, 2) & 1);
  report('ready for the link to go down', true);
  await changed;
  report('link after', transport.readConfig(LINK_STATUS, 2) & 1);
  report(
    'enabling twice',
    await failureOf(Promise.resolve().then(() => transport.enableQueue(0, layoutIn(transport, 64).layout))),
  );
  transport.disableInterrupts();
  await transport.close();
  for (const free of queues) free();
}

report('driver before', await driverOf(CARD));
const card = await open('00:10.0');
report('driver while open', await driverOf(CARD));
await readRegisters(card);
report('opening it twice', await failureOf(open(CARD)));
await watchLink(card);
report('driver after', await driverOf(CARD));

/** One queue is reset and enabled again, larger, while the device goes on. */
async function resetQueue(transport: Transport): Promise<void> {
  transport.enableInterrupts(2, { config: () => undefined, queue: () => undefined });
  const rings = [0, 1].map((queue) => {
    const ring = layoutIn(transport, 128);
    transport.enableQueue(queue, ring.layout);
    return ring;
  });
  transport.writeStatus(DRIVER_OK);
  await transport.resetQueue(1, 5000);
  report(
    'notifying a queue that was reset',
    await failureOf(Promise.resolve().then(() => transport.notify(1))),
  );
  transport.notify(0);
  const larger = layoutIn(transport, 256);
  transport.enableQueue(1, larger.layout);
  transport.notify(1);
  report('status after the reset of a queue', transport.readStatus());
  await transport.close();
  for (const { free } of [...rings, larger]) free();
}

const again = await open(CARD);
await negotiate(again);
report('status when opened again', again.readStatus());
await resetQueue(again);

const polled = await open(WITHOUT_VECTORS, { interruptMode: 'msix' });
await negotiate(polled);
report(
  'interrupts without vectors',
  await failureOf(
    Promise.resolve().then(() =>
      polled.enableInterrupts(2, { config: () => undefined, queue: () => undefined }),
    ),
  ),
);
const polledRings = layoutIn(polled, 256);
polled.enableQueue(0, polledRings.layout);
polled.writeStatus(DRIVER_OK);
polled.notify(0);
report('status without vectors', polled.readStatus());
await polled.close();
polledRings.free();
report('driver of a card that had vfio-pci', await driverOf(WITHOUT_VECTORS));

for (const [name, address] of [
  ['PIO', PIO_NOTIFY],
  ['two vectors', TWO_VECTORS],
] as const) {
  const transport = await open(address);
  await negotiate(transport);
  transport.enableInterrupts(2, { config: () => undefined, queue: () => undefined });
  const rings = [0, 1].map((queue) => {
    const { layout, free } = layoutIn(transport, 256);
    transport.enableQueue(queue, layout);
    return free;
  });
  transport.writeStatus(DRIVER_OK);
  transport.notify(0);
  transport.notify(1);
  report(`status of ${name}`, transport.readStatus());
  await transport.close();
  for (const free of rings) free();
}

const transitional = await open(TRANSITIONAL);
report('ids of the transitional card', (await findPciDevice(TRANSITIONAL)).deviceId);
report('queues of the transitional card', transitional.queueCount);
await transitional.close();

const old = await open(LEGACY);
old.writeStatus(0);
report('legacy card', {
  kind: old.kind,
  queues: [old.queueCount, ...[0, 1, 2, 3].map((queue) => old.maxQueueSize(queue))],
  mac: old.readConfig(0, 2),
  features: old.readDeviceFeatures() < 1n << 32n,
  status: old.readStatus(),
});
const before = old.readConfigGeneration();
old.enableInterrupts(2, { config: () => undefined, queue: () => undefined });
report('legacy card with vectors', {
  mac: old.readConfig(0, 2),
  same: old.readConfigGeneration() === before,
});
old.disableInterrupts();
for (const [at, byte] of [0x52, 0x54, 0x77].entries()) old.writeConfig(at, 1, byte);
report(
  'legacy card with another address',
  [0, 1, 2].map((at) => old.readConfig(at, 1)),
);
await old.close();
report('modern interface of the legacy card', await failureOf(open(LEGACY, { pciInterface: 'modern' })));
report('legacy interface of a modern card', await failureOf(open(CARD, { pciInterface: 'legacy' })));
report('driver of the legacy card', await driverOf(LEGACY));
report('host bridge', await failureOf(open(HOST_BRIDGE)));
report('nowhere', await failureOf(open(NOWHERE)));
