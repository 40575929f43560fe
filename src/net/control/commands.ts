/**
 * The commands of the control queue (VIRTIO 1.3, 5.1.6.5).
 */

export interface ControlCommand {
  /** Name in the specification. */
  readonly name: string;
  readonly class: number;
  readonly command: number;
}

const command = (name: string, classNumber: number, number: number): ControlCommand => ({
  name: `VIRTIO_NET_CTRL_${name}`,
  class: classNumber,
  command: number,
});

export const COMMANDS = {
  RX_PROMISC: command('RX_PROMISC', 0, 0),
  RX_ALLMULTI: command('RX_ALLMULTI', 0, 1),
  RX_ALLUNI: command('RX_ALLUNI', 0, 2),
  RX_NOMULTI: command('RX_NOMULTI', 0, 3),
  RX_NOUNI: command('RX_NOUNI', 0, 4),
  RX_NOBCAST: command('RX_NOBCAST', 0, 5),
  MAC_TABLE_SET: command('MAC_TABLE_SET', 1, 0),
  MAC_ADDR_SET: command('MAC_ADDR_SET', 1, 1),
  VLAN_ADD: command('VLAN_ADD', 2, 0),
  VLAN_DEL: command('VLAN_DEL', 2, 1),
  ANNOUNCE_ACK: command('ANNOUNCE_ACK', 3, 0),
  MQ_VQ_PAIRS_SET: command('MQ_VQ_PAIRS_SET', 4, 0),
  MQ_RSS_CONFIG: command('MQ_RSS_CONFIG', 4, 1),
  MQ_HASH_CONFIG: command('MQ_HASH_CONFIG', 4, 2),
  GUEST_OFFLOADS_SET: command('GUEST_OFFLOADS_SET', 5, 0),
  NOTF_COAL_TX_SET: command('NOTF_COAL_TX_SET', 6, 0),
  NOTF_COAL_RX_SET: command('NOTF_COAL_RX_SET', 6, 1),
  NOTF_COAL_VQ_SET: command('NOTF_COAL_VQ_SET', 6, 2),
  NOTF_COAL_VQ_GET: command('NOTF_COAL_VQ_GET', 6, 3),
  HASH_TUNNEL_SET: command('HASH_TUNNEL_SET', 7, 0),
  STATS_QUERY: command('STATS_QUERY', 8, 0),
  STATS_GET: command('STATS_GET', 8, 1),
} as const;

/** What the device says to a command. */
export const ACK = { OK: 0, ERR: 1 } as const;

/** What the driver sends with a command, and what it waits for besides the acknowledgement. */
export interface CommandBody {
  /** The command-specific data, each part in a descriptor of its own, as the legacy interface asks for (5.1.6.6). */
  readonly data?: readonly Uint8Array[];
  /** Bytes of command-specific data that the device fills in: they lie in front of the acknowledgement. */
  readonly filledLength?: number;
  /** Most bytes of command-specific result: they lie behind the acknowledgement. */
  readonly resultLength?: number;
}
