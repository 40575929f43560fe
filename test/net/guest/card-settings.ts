/**
 * Sets all that a card of QEMU can do by itself, and reports which frames of another card arrive each time. The test
 * outside asks QEMU what it made of the settings, when it is told to: it answers by taking the link down.
 *
 *     card-settings.mjs <number of the card in QMP> <pci-address> <pci-address of the other card> <that of one on a tap>
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { once } from 'node:events';
import { NetDevice, RECEIVE_OFFLOADS, type PacketBuffer } from 'virtio-net';
import { failureOf, report } from '../../vm/guest/report.js';

const [card, address, otherAddress, tapAddress] = process.argv.slice(2);
const FRAME_LENGTH = 60;
const OTHER = [0x02, 0, 0, 0xee, 0xee, 0xee];
const GROUP = [0x01, 0, 0x5e, 0, 0, 0x07];
const BROADCAST = [255, 255, 255, 255, 255, 255];
const TYPE = 0x88b5;

await using other = await NetDevice.open(otherAddress, { interrupts: false });
await using device = await NetDevice.open(address, { features: { extra: ['VIRTIO_NET_F_CTRL_VLAN'] } });
await other.start();
await device.start();
const { control } = device;
const ownMac = [...device.macBytes];

/** An Ethernet frame that names itself behind its type. */
function frameTo(destination: readonly number[], name: string, vlan?: number): Uint8Array {
  const frame = new Uint8Array(FRAME_LENGTH);
  const tag = vlan === undefined ? [] : [0x81, 0, vlan >> 8, vlan & 0xff];
  frame.set([...destination, 0x02, 0, 0, 0, 0, 1, ...tag, TYPE >> 8, TYPE & 0xff, name.length]);
  frame.set(new TextEncoder().encode(name), 15 + tag.length);
  return frame;
}

function nameOf({ frame }: PacketBuffer): string | undefined {
  const at = frame[12] === 0x81 ? 16 : 12;
  if (frame[at] !== TYPE >> 8 || frame[at + 1] !== (TYPE & 0xff)) return undefined;
  return new TextDecoder().decode(frame.subarray(at + 3, at + 3 + frame[at + 2]));
}

/** The names of those among the usual frames that arrive. The last one comes to the card whatever it is set to. */
async function arriving(mac: readonly number[] = ownMac): Promise<string[]> {
  for (const frame of [
    frameTo(ownMac, 'own'),
    frameTo(OTHER, 'other'),
    frameTo(GROUP, 'group'),
    frameTo(BROADCAST, 'broadcast'),
    frameTo(mac, 'VLAN 5', 5),
    frameTo(mac, 'VLAN 6', 6),
    frameTo(mac, 'end'),
  ]) {
    await other.send(frame);
  }
  await other.flush();
  const names: string[] = [];
  const batch: PacketBuffer[] = [];
  while (names.at(-1) !== 'end') {
    const count = device.receive(batch);
    for (const packet of batch.slice(0, count)) {
      const name = nameOf(packet);
      if (name !== undefined) names.push(name);
      packet.release();
    }
    await nextTurn();
  }
  return names.slice(0, -1);
}

async function linkTurns(up: boolean): Promise<void> {
  while (device.linkUp !== up) await once(device, 'link');
}

/** Has the test do something outside. */
async function outside(what: string): Promise<void> {
  console.log(`outside: ${card} ${what}`);
  await linkTurns(false);
  console.log(`outside: ${card} link-up`);
  await linkTurns(true);
}

report('features', device.features.negotiated);
report('at first', await arriving());

await control.setReceiveMode({ promiscuous: false });
report('not promiscuous', await arriving());
await control.setReceiveMode({ allMulticast: true, noBroadcast: true });
report('all multicast, no broadcast', await arriving());
await control.setReceiveMode({ allMulticast: false, noBroadcast: false, allUnicast: true });
report('all unicast', await arriving());
await control.setReceiveMode({ allUnicast: false });
await control.setMacTable({ unicast: [Uint8Array.from(OTHER)], multicast: [Uint8Array.from(GROUP)] });
report('table', await arriving());
await control.setMacTable({});
await control.addVlan(5);
await control.addVlan(6);
await control.removeVlan(6);
report('VLAN 5', await arriving());

await control.setMac(Uint8Array.from(OTHER));
report('another address', { mac: device.mac, arriving: await arriving(OTHER) });
await outside('filter-set');
const { lostSettings } = await device.reset();
report('after a reset', { lostSettings, mac: device.mac, arriving: await arriving(OTHER) });
await outside('filter-restored');

let announcements = 0;
device.on('announce', () => (announcements += 1));
for (const expected of [1, 2]) {
  console.log(`outside: ${card} announce`);
  while (announcements < expected) await once(device, 'announce');
}
report('announcements', announcements);

report('offloads without a backend for them', await failureOf(control.setGuestOffloads([])));
report(
  'offload that was not asked for',
  await failureOf(control.setGuestOffloads(['VIRTIO_NET_F_GUEST_CSUM'])),
);
report('receive side scaling', await failureOf(control.setRss()));

await using tap = await NetDevice.open(tapAddress, {
  features: { extra: ['VIRTIO_NET_F_GUEST_CSUM', 'VIRTIO_NET_F_GUEST_TSO4'] },
});
await tap.start();
await tap.control.setGuestOffloads(['VIRTIO_NET_F_GUEST_CSUM']);
await tap.control.setGuestOffloads([]);
report('offloads with one', await failureOf(tap.control.setGuestOffloads([...RECEIVE_OFFLOADS].slice(0, 2))));
