/**
 * NetControl: what a program can set on a card, through its control queue (VIRTIO 1.3, 5.1.6.5).
 */
import { requireFields } from '../arguments.js';
import { MAC_AT } from '../config-space.js';
import type { FeatureName } from '../feature-table.js';
import type { Direction } from '../recovery-report.js';
import {
  COALESCING_LENGTH,
  decodeCoalescing,
  encodeCoalescing,
  encodeQueue,
  type Coalescing,
} from './coalescing.js';
import { COMMANDS, type ControlCommand } from './commands.js';
import { queueSettingKey, type ControlSession } from './control-session.js';
import type { DeviceStatistics } from './device-statistics.js';
import { encodeGuestOffloads } from './guest-offloads.js';
import type { HashConfig, RssConfig, RssSettings, TunnelType } from './hashing.js';
import { encodeMacTable, toCardMac, type MacAddress, type MacTable } from './mac-filter.js';
import { readDeviceStatistics } from './read-statistics.js';
import { checkReceiveMode, RECEIVE_MODES, type ReceiveMode } from './receive-mode.js';
import { requireDirection, requireInteger } from './requirements.js';
import { Steering } from './steering.js';

/** VLAN identifiers have 12 bits (IEEE 802.1Q). */
const MOST_VLAN = 4095;

/**
 * The settings of a card. They outlive a reset: what was set is set again when the device starts anew.
 *
 * A setting that is made while the device is stopped is checked and kept, and set by `start()`. While it runs, a call
 * is fulfilled when the device has acknowledged it. Calls take effect one after another.
 *
 * All calls reject with UsageError FEATURE_NOT_NEGOTIATED where the device lacks what they need, OPTION_INVALID or
 * ADDRESS_MALFORMED for arguments that can not be, DEVICE_CLOSED, DEVICE_NOT_STARTED if the device is stopped before it
 * has answered; and with DeviceError CONTROL_COMMAND_REFUSED or CONTROL_TIMEOUT. After the latter the device takes no
 * command until it is reset. A setting whose call was rejected is not kept.
 */
export class NetControl {
  private readonly session: ControlSession;
  private readonly steering: Steering;
  private currentMac: Uint8Array;

  /**
   * @param mac - the address of the card; one that the device does not know will be told to it
   * @internal
   */
  constructor(session: ControlSession, mac: Uint8Array) {
    this.session = session;
    this.steering = new Steering(session);
    this.currentMac = mac;
    this.keepOwnMac();
  }

  /** The MAC address of the card, 6 bytes: a copy. */
  get macBytes(): Uint8Array {
    return Uint8Array.from(this.currentMac);
  }

  /** How many queue pairs are in use. */
  get queuePairs(): number {
    return this.steering.pairsInUse;
  }

  /** Receive side scaling as it was set last, with the defaults filled in; undefined if it is not in use. */
  get rss(): RssSettings | undefined {
    return this.steering.rss;
  }

  /** Sets which frames the card receives whatever their destination, and which not at all. */
  async setReceiveMode(mode: ReceiveMode): Promise<void> {
    checkReceiveMode(mode);
    const names = (Object.keys(RECEIVE_MODES) as (keyof ReceiveMode)[]).filter(
      (name) => mode[name] !== undefined,
    );
    for (const name of names) this.session.require(`Receive mode ${name}`, RECEIVE_MODES[name].feature);
    for (const name of names) {
      const data = [Uint8Array.of(mode[name] === true ? 1 : 0)];
      await this.session.set(`receive:${name}`, `receive mode ${name}`, RECEIVE_MODES[name].command, data);
    }
  }

  /** Sets the destination addresses that the card accepts besides its own, in place of those that were set before. */
  async setMacTable(table: MacTable): Promise<void> {
    this.session.require('A table of MAC addresses', 'VIRTIO_NET_F_CTRL_RX');
    await this.session.set(
      'mac-table',
      'table of MAC addresses',
      COMMANDS.MAC_TABLE_SET,
      encodeMacTable(table),
    );
  }

  /** Lets frames with that VLAN tag in. With VIRTIO_NET_F_CTRL_VLAN all others with a tag are dropped. */
  async addVlan(id: number): Promise<void> {
    const data = this.vlan(id);
    await this.session.set(`vlan:${id}`, `VLAN ${id}`, COMMANDS.VLAN_ADD, data);
  }

  /** Undoes {@link addVlan}. */
  async removeVlan(id: number): Promise<void> {
    const data = this.vlan(id);
    await this.session.unset(`vlan:${id}`, COMMANDS.VLAN_DEL, data);
  }

  /** Gives the card another MAC address: a unicast address, as text or six bytes. */
  async setMac(address: MacAddress): Promise<void> {
    const { transport, features } = this.session.parts;
    const mac = toCardMac(address);
    const byConfig = transport.legacy && !features.has('VIRTIO_NET_F_CTRL_MAC_ADDR');
    if (!byConfig) this.requireMacCommand();
    await this.session.keep('mac', 'MAC address', async () => {
      if (byConfig) mac.forEach((byte, index) => transport.writeConfig(MAC_AT + index, 1, byte));
      else await this.session.command(COMMANDS.MAC_ADDR_SET, { data: [mac] });
    });
    this.currentMac = mac;
  }

  /**
   * Sets how many of the open queue pairs are used, and has the device spread received frames over them by itself. Ends
   * receive side scaling, but for a device that has nothing else: there it names those pairs in turn.
   */
  setQueuePairs(count: number): Promise<void> {
    return this.steering.setQueuePairs(count);
  }

  /**
   * Sets receive side scaling: which queue pair a received frame comes to. All open queue pairs are used then; those
   * from `transmitPairs` on do not send.
   */
  setRss(config: RssConfig = {}): Promise<void> {
    return this.steering.setRss(config);
  }

  /** Sets which frames the device hashes, for the hash reports of received packets. */
  setHash(config: HashConfig = {}): Promise<void> {
    return this.steering.setHash(config);
  }

  /** Sets the tunnels whose inner headers are hashed in place of the outer ones; none at first. */
  setHashTunnels(types: readonly TunnelType[]): Promise<void> {
    return this.steering.setHashTunnels(types);
  }

  /** Sets which of the negotiated receive offloads the device makes use of: those given, and no others. */
  async setGuestOffloads(names: readonly FeatureName[]): Promise<void> {
    const { features } = this.session.parts;
    this.session.require('A change of receive offloads', 'VIRTIO_NET_F_CTRL_GUEST_OFFLOADS');
    const data = [encodeGuestOffloads(names, features)];
    await this.session.set('offloads', 'receive offloads', COMMANDS.GUEST_OFFLOADS_SET, data);
  }

  /** Sets when the device interrupts, for all receive queues, all transmit queues, or both. */
  async setCoalescing(coalescing: { receive?: Coalescing; transmit?: Coalescing }): Promise<void> {
    this.session.require('Notification coalescing', 'VIRTIO_NET_F_NOTF_COAL');
    requireFields('Coalescing of all queues', coalescing, ['receive', 'transmit']);
    const { receive, transmit } = coalescing;
    const ofReceive = receive === undefined ? undefined : encodeCoalescing(receive);
    const ofTransmit = transmit === undefined ? undefined : encodeCoalescing(transmit);
    if (ofReceive) await this.setAllCoalescing('receive', COMMANDS.NOTF_COAL_RX_SET, ofReceive);
    if (ofTransmit) await this.setAllCoalescing('transmit', COMMANDS.NOTF_COAL_TX_SET, ofTransmit);
  }

  /** Sets when the device interrupts for one queue. */
  async setQueueCoalescing(pair: number, direction: Direction, coalescing: Coalescing): Promise<void> {
    const queue = this.coalescingQueue(pair, direction);
    const data = [encodeQueue(queue), encodeCoalescing(coalescing)];
    const name = `coalescing of queue ${queue}`;
    await this.session.set(queueSettingKey(pair, direction), name, COMMANDS.NOTF_COAL_VQ_SET, data);
  }

  /** When the device interrupts for one queue. The device must be running. */
  async queueCoalescing(pair: number, direction: Direction): Promise<Coalescing> {
    const data = [encodeQueue(this.coalescingQueue(pair, direction))];
    return decodeCoalescing(
      await this.session.command(COMMANDS.NOTF_COAL_VQ_GET, { data, filledLength: COALESCING_LENGTH }),
    );
  }

  /**
   * What the device itself has counted. The device must be running.
   *
   * @throws DeviceError CONTROL_ANSWER_INVALID
   */
  async deviceStatistics(): Promise<DeviceStatistics> {
    this.session.require('Statistics of the device', 'VIRTIO_NET_F_DEVICE_STATS');
    const { features, pairs } = this.session.parts;
    const queue = this.session.queueIndex ?? 0;
    const send = this.session.command.bind(this.session);
    return readDeviceStatistics(send, features, pairs, queue);
  }

  /**
   * Tells the device that its card was announced on the network. The driver does so by itself, when the listeners of
   * the event `announce` have run.
   */
  async acknowledgeAnnounce(): Promise<void> {
    this.session.require('An announcement', 'VIRTIO_NET_F_GUEST_ANNOUNCE');
    await this.session.command(COMMANDS.ANNOUNCE_ACK);
    this.session.parts.config.announced();
  }

  /** A card whose address the driver made up is told it (5.1.6.5.2.2). */
  private keepOwnMac(): void {
    const { features, config } = this.session.parts;
    const mac = this.currentMac;
    const settable = features.has('VIRTIO_NET_F_CTRL_RX') && features.has('VIRTIO_NET_F_CTRL_MAC_ADDR');
    if (config.current.mac !== undefined || !settable) return;
    this.session.settings.keep('mac', 'MAC address', () =>
      this.session.command(COMMANDS.MAC_ADDR_SET, { data: [mac] }),
    );
  }

  private vlan(id: number): [Uint8Array] {
    this.session.require('A VLAN filter', 'VIRTIO_NET_F_CTRL_VLAN');
    requireInteger('A VLAN', id, 0, MOST_VLAN);
    return [Uint8Array.of(id & 0xff, id >> 8)];
  }

  private requireMacCommand(): void {
    this.session.require('Another MAC address', 'VIRTIO_NET_F_CTRL_MAC_ADDR', 'VIRTIO_NET_F_CTRL_RX');
  }

  private coalescingQueue(pair: number, direction: Direction): number {
    this.session.require('Notification coalescing of one queue', 'VIRTIO_NET_F_VQ_NOTF_COAL');
    requireInteger('The queue pair', pair, 0, this.session.parts.pairs - 1);
    requireDirection(direction);
    return 2 * pair + (direction === 'receive' ? 0 : 1);
  }

  /** The settings of single queues end with one for all of them. */
  private async setAllCoalescing(
    direction: Direction,
    command: ControlCommand,
    data: Uint8Array,
  ): Promise<void> {
    const name = `coalescing of all ${direction} queues`;
    await this.session.set(`coalescing:${direction}`, name, command, [data], queueSettingKey('', direction));
  }
}
