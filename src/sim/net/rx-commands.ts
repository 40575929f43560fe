/** Commands for what is received: modes, MAC addresses, VLANs, offloads (VIRTIO 1.3, 5.1.6.5.1 to .4 and .8). */
import { formatMac } from '../../packet/index.js';
import { breach, viewOver, type Command } from './command.js';
import { isMulticast, RECEIVE_MODES } from './filter.js';

const MAC_LENGTH = 6;
const HIGHEST_VLAN = 4095;
/** The modes that VIRTIO_NET_F_CTRL_RX stands for; the others are extra. */
const PLAIN_MODES = 2;

const modeCommands: readonly Command[] = RECEIVE_MODES.map((mode, command) => ({
  name: `VIRTIO_NET_CTRL_RX (${mode})`,
  class: 0,
  command,
  needs: [command < PLAIN_MODES ? 'VIRTIO_NET_F_CTRL_RX' : 'VIRTIO_NET_F_CTRL_RX_EXTRA'],
  run(data, { filter }) {
    if (data.length !== 1 || data[0] > 1) return 'error';
    filter.setMode(mode, data[0] === 1);
    return 'ok';
  },
}));

const setTable: Command = {
  name: 'VIRTIO_NET_CTRL_MAC_TABLE_SET',
  class: 1,
  command: 0,
  needs: ['VIRTIO_NET_F_CTRL_RX'],
  run(data, { filter }) {
    const unicast = addressesAt(this.name, data, 0);
    const multicast = addressesAt(this.name, data, unicast.end);
    if (multicast.end !== data.length)
      breach(`${this.name} has ${data.length} bytes, but its tables end at ${multicast.end}`);
    const wrong = unicast.addresses.find(isMulticast) ?? multicast.addresses.find((one) => !isMulticast(one));
    if (wrong !== undefined) breach(`${this.name} has ${formatMac(wrong)} in the wrong one of its tables`);
    filter.setTable([...unicast.addresses, ...multicast.addresses]);
    return 'ok';
  },
  framing: (data) => {
    const first = data.length < 4 ? data.length : 4 + MAC_LENGTH * viewOver(data).getUint32(0, true);
    return [first, data.length - first];
  },
};

/** Reads one table: a count and so many addresses. */
function addressesAt(name: string, data: Uint8Array, at: number): { addresses: Uint8Array[]; end: number } {
  if (at + 4 > data.length) breach(`${name} has ${data.length} bytes: too few for its two tables`);
  const count = viewOver(data).getUint32(at, true);
  const end = at + 4 + MAC_LENGTH * count;
  if (end > data.length)
    breach(`${name} has ${data.length} bytes: too few for a table of ${count} addresses`);
  const addresses = Array.from({ length: count }, (_, index) => {
    const start = at + 4 + MAC_LENGTH * index;
    return data.slice(start, start + MAC_LENGTH);
  });
  return { addresses, end };
}

const setAddress: Command = {
  name: 'VIRTIO_NET_CTRL_MAC_ADDR_SET',
  class: 1,
  command: 1,
  needs: ['VIRTIO_NET_F_CTRL_MAC_ADDR', 'VIRTIO_NET_F_CTRL_RX'],
  run(data, { surroundings }) {
    if (data.length !== MAC_LENGTH || isMulticast(data)) return 'error';
    surroundings.config.setMac(data);
    return 'ok';
  },
};

const vlanCommands: readonly Command[] = (['ADD', 'DEL'] as const).map((action, command) => ({
  name: `VIRTIO_NET_CTRL_VLAN_${action}`,
  class: 2,
  command,
  needs: ['VIRTIO_NET_F_CTRL_VLAN'],
  run(data, { filter }) {
    const id = data.length === 2 ? viewOver(data).getUint16(0, true) : HIGHEST_VLAN + 1;
    if (id > HIGHEST_VLAN) return 'error';
    if (action === 'ADD') filter.addVlan(id);
    else filter.removeVlan(id);
    return 'ok';
  },
}));

const acknowledgeAnnounce: Command = {
  name: 'VIRTIO_NET_CTRL_ANNOUNCE_ACK',
  class: 3,
  command: 0,
  needs: ['VIRTIO_NET_F_GUEST_ANNOUNCE'],
  run(data, { surroundings }) {
    if (data.length > 0) return 'error';
    surroundings.config.setAnnounce(false);
    return 'ok';
  },
};

const setOffloads: Command = {
  name: 'VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET',
  class: 5,
  command: 0,
  needs: ['VIRTIO_NET_F_CTRL_GUEST_OFFLOADS'],
  run(data, { offloads }) {
    if (data.length !== 8) return 'error';
    const bits = viewOver(data).getBigUint64(0, true);
    const alien = bits & ~offloads.available;
    if (alien !== 0n)
      breach(`${this.name} enables 0x${alien.toString(16)}, offloads whose features were not negotiated`);
    offloads.set(bits);
    return 'ok';
  },
};

export const RX_COMMANDS: readonly Command[] = [
  ...modeCommands,
  setTable,
  setAddress,
  ...vlanCommands,
  acknowledgeAnnounce,
  setOffloads,
];
