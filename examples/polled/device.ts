import type { Transport } from 'virtio-net';
import { parseMac, writeEthernet } from 'virtio-net/packet';
import { createSimulatedDevice } from 'virtio-net/sim';

const DEVICE = parseMac('52:54:00:12:34:56');
const NEIGHBOUR = parseMac('02:00:00:00:00:01');

/**
 * What `NetDevice.open()` takes for the name of a device. `sim` is the software device, with a wire on which frames of
 * 64 bytes come all the time; every other name is left to the library: a PCI address, or `vhost-user:` and a path.
 */
export function find(name: string): string | Transport {
  return name === 'sim' ? busyDevice() : name;
}

/** With each turn of the event loop come as many frames as its receive ring has room for. */
function busyDevice(): Transport {
  const device = createSimulatedDevice({ host: null });
  const frame = new Uint8Array(64);
  // 0x88b5 is an Ethernet type for experiments (IEEE 802).
  writeEthernet(frame, 0, { destination: DEVICE, source: NEIGHBOUR, etherType: 0x88b5 });
  const { transport } = device;
  const arrive = (): void => {
    while (device.inject(frame));
    if (device.openCount > 0) setImmediate(arrive);
  };
  setImmediate(arrive);
  return transport;
}
