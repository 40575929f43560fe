/**
 * A device behind a vhost-user socket, from the driver's side (the front-end, in the words of the protocol): another
 * process moves the frames, in memory that both share.
 *
 * The protocol knows rings and memory, but no device status and no reset in the sense of VIRTIO 1.3, 2.1 and 2.4. So the
 * status is kept here; rings are handed over when the driver says DRIVER_OK, and a reset takes each of them back.
 */
import { UsageError, type VirtioNetError } from '../../errors.js';
import type { Logger } from '../../log.js';
import { EventFd } from '../../native/event-fd.js';
import { checkRingSize, LARGEST_QUEUE, queueUnavailable } from '../queue-sizes.js';
import type { TransportSharing } from '../sharing.js';
import {
  STATUS,
  type AbsenceHandlers,
  type AccessWidth,
  type InterruptHandlers,
  type QueueLayout,
  type Transport,
} from '../transport.js';
import { mtuOf, VhostUserConfig, type CardSettings } from './config-space.js';
import type { Connection } from './connection.js';
import { acceptedFeatures, offeredFeatures } from './features.js';
import { isDisconnect, isRefusal } from './failures.js';
import type { Greeting } from './greeting.js';
import type { Link } from './link.js';
import { encodeMemoryTable, encodeU64, PROTOCOL_FEATURE } from './messages.js';
import type { VhostUserMemory } from './memory.js';
import { RingEvents, signalKick } from './ring-events.js';
import { handOver, setEnabled, takeBack } from './rings.js';

const QUEUES_PER_PAIR = 2;
const RING_PACKED = 1n << 34n;
const NET_MTU = 1n << 3n;
/** VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET (5.1.6.5.6). */
const SET_PAIRS = { class: 4, command: 0 } as const;

export interface VhostUserTransportParts {
  readonly name: string;
  readonly link: Link;
  readonly memory: VhostUserMemory;
  readonly card: CardSettings;
  /** Whether the link connects again when the backend has gone. */
  readonly reconnect: boolean;
  readonly log: Logger;
}

/** A ring that the driver has told of. */
interface Ring {
  readonly layout: QueueLayout;
  readonly kick: number;
}

export class VhostUserTransport implements Transport {
  readonly kind = 'vhost-user';
  readonly legacy = false;
  readonly name: string;
  readonly memory: VhostUserMemory;
  readonly sharing: TransportSharing;

  readonly #link: Link;
  readonly #log: Logger;
  /** What the program says. */
  readonly #mtu: number | undefined;
  readonly #config: VhostUserConfig;
  readonly #events = new RingEvents();
  readonly #rings: (Ring | undefined)[] = [];
  #status = 0;
  #accepted = 0n;
  #featuresRefused = false;
  /** How many queue pairs are in use. */
  #pairs = 1;
  /** Whether the backend has the rings. */
  #handedOver = false;
  #keepAlive = true;
  /** Whether interrupts are waited for. */
  #waiting = false;
  /** Whether a device that was running waits for its backend. */
  #missed = false;
  #closed = false;
  #absence: AbsenceHandlers | undefined;
  #onRemoval: (() => void) | undefined;
  readonly #reconnects: boolean;

  /** Link and memory become the transport's. */
  constructor({ name, link, memory, card, reconnect, log }: VhostUserTransportParts) {
    this.name = name;
    this.memory = memory;
    this.#link = link;
    this.#log = log;
    this.#mtu = card.mtu;
    this.#reconnects = reconnect;
    this.#config = new VhostUserConfig(card, link.greeting);
    link.hooks = { lost: (error) => this.#onLost(error), restored: () => this.#onRestored() };
    this.sharing = {
      allocate: (size, options) => memory.allocateShared(size, options),
      createEvent: () => EventFd.create(),
      createKick: () => EventFd.create(),
      doorbell: (queue) => ({ fd: this.#ringOf(queue).kick }),
      notify: (queue) => this.notify(queue),
    };
  }

  readStatus(): number {
    if (this.#events.takeError()) this.#status |= STATUS.DEVICE_NEEDS_RESET;
    return this.#status;
  }

  writeStatus(status: number): void {
    if (status === 0) {
      this.#reset();
      return;
    }
    const added = status & ~this.#status;
    if ((added & STATUS.DRIVER_OK) !== 0) this.#handOverAll();
    this.#tellStatus(status, added);
  }

  readDeviceFeatures(): bigint {
    return this.#link.use((_, greeting) => {
      return offeredFeatures(greeting, (this.#mtu ?? mtuOf(greeting)) !== undefined);
    });
  }

  writeDriverFeatures(features: bigint): void {
    this.#accepted = features;
    this.#featuresRefused = false;
    this.#link.use((connection, greeting) => {
      try {
        connection.setU64('SET_FEATURES', acceptedFeatures(greeting, features));
      } catch (error) {
        if (!isRefusal(error)) throw error;
        // The driver sees it as it does with any other device: FEATURES_OK does not stay (VIRTIO 1.3, 3.1.1).
        this.#featuresRefused = true;
      }
    });
  }

  get queueCount(): number {
    return this.#link.greeting.queuePairs * QUEUES_PER_PAIR;
  }

  /** No message asks for it: a backend that takes less refuses the ring. */
  maxQueueSize(queue: number): number {
    return Number.isInteger(queue) && queue >= 0 && queue < this.queueCount ? LARGEST_QUEUE : 0;
  }

  enableQueue(queue: number, layout: QueueLayout): void {
    if (this.maxQueueSize(queue) === 0) throw queueUnavailable(this.name, queue, 'does not exist');
    checkRingSize(queue, layout.size, (this.#accepted & RING_PACKED) !== 0n);
    if (this.#rings[queue] !== undefined) {
      throw queueUnavailable(this.name, queue, 'is enabled already; reset the device first');
    }
    this.#rings[queue] = { layout, kick: layout.kickFd ?? this.#events.kickOf(queue) };
  }

  resetQueue(queue: number): Promise<void> {
    return Promise.reject(
      new UsageError('FEATURE_NOT_NEGOTIATED', `Queue ${queue} of ${this.name} can not be reset alone`, {
        remedy: 'Reset the whole device, with reset().',
      }),
    );
  }

  notify(queue: number): void {
    signalKick(this.#ringOf(queue).kick);
  }

  get configLength(): number {
    return this.#config.length;
  }

  readConfig(offset: number, width: AccessWidth): number {
    return this.#config.read(offset, width);
  }

  writeConfig(offset: number, width: AccessWidth, value: number): void {
    this.#config.write(offset, width, value);
  }

  readConfigGeneration(): number {
    return this.#config.generation;
  }

  /** Of all commands there is the one that a front-end can carry out: to use so many queue pairs. */
  command(classNumber: number, command: number, data: Uint8Array): boolean {
    if (classNumber !== SET_PAIRS.class || command !== SET_PAIRS.command || data.length !== 2) return false;
    const pairs = data[0] + 256 * data[1];
    if (pairs < 1 || pairs > this.#link.greeting.queuePairs) return false;
    return this.#usePairs(pairs);
  }

  enableInterrupts(queues: number, handlers: InterruptHandlers): void {
    this.#events.enable(queues, handlers, () => {
      this.#status |= STATUS.DEVICE_NEEDS_RESET;
      handlers.config();
    });
    this.#waiting = true;
    this.#missed = false;
    this.#updateKeepAlive();
  }

  disableInterrupts(): void {
    this.#waiting = false;
    this.#updateKeepAlive();
    this.#events.disable();
  }

  setKeepAlive(keepAlive: boolean): void {
    this.#keepAlive = keepAlive;
    this.#events.setKeepAlive(keepAlive);
    this.#updateKeepAlive();
  }

  get isAway(): boolean {
    return this.#reconnects && this.#link.lost !== undefined;
  }

  onAbsence(handlers: AbsenceHandlers | undefined): void {
    this.#absence = handlers;
  }

  onRemoval(handler: (() => void) | undefined): void {
    this.#onRemoval = handler;
    if (!this.#reconnects && this.#link.lost !== undefined) this.#tellRemoval();
  }

  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#closed = true;
    try {
      this.#reset();
    } catch (error) {
      this.#log.warn({ device: this.name, err: error }, 'backend did not give its rings back');
    } finally {
      this.#giveBack();
    }
    return Promise.resolve();
  }

  #onLost(error: VirtioNetError): void {
    this.#handedOver = false;
    this.#missed ||= (this.#status & STATUS.DRIVER_OK) !== 0;
    this.#updateKeepAlive();
    this.#config.setLink(false);
    if (this.#reconnects) this.#absence?.away(error);
    else this.#tellRemoval();
  }

  #onRestored(): void {
    this.#config.update(this.#link.greeting);
    this.#absence?.back();
  }

  #tellRemoval(): void {
    const handler = this.#onRemoval;
    this.#onRemoval = undefined;
    if (handler !== undefined) setImmediate(handler);
  }

  #giveBack(): void {
    try {
      this.#link.close();
    } finally {
      try {
        this.#events.close();
      } finally {
        this.memory.close();
      }
    }
  }

  #updateKeepAlive(): void {
    this.#link.setKeepAlive(this.#keepAlive && (this.#waiting || this.#missed));
  }

  #tellStatus(status: number, added: number): void {
    this.#link.use((connection, { protocol }) => {
      const hasStatus = (protocol & PROTOCOL_FEATURE.STATUS) !== 0n;
      if (hasStatus) connection.setU64('SET_STATUS', BigInt(status));
      let refused = this.#featuresRefused;
      if (hasStatus && (added & STATUS.FEATURES_OK) !== 0) {
        refused ||= (connection.get('GET_STATUS') & BigInt(STATUS.FEATURES_OK)) === 0n;
      }
      this.#status = refused ? status & ~STATUS.FEATURES_OK : status;
    });
  }

  #handOverAll(): void {
    this.#link.use((connection, greeting) => {
      // Also what it has been told before: a reset may have it forget that.
      const { entries, fds } = this.memory.table;
      connection.set('SET_MEM_TABLE', encodeMemoryTable(entries), fds);
      this.#tellMtu(connection, greeting);
      const packed = (this.#accepted & RING_PACKED) !== 0n;
      this.#handedOver = true;
      this.#forEachRing((queue, { layout }) => handOver(connection, queue, layout, this.#events, packed));
      this.#enableUsed(connection, greeting);
    });
  }

  #tellMtu(connection: Connection, { protocol, features }: Greeting): void {
    if (this.#mtu === undefined || (protocol & PROTOCOL_FEATURE.NET_MTU) === 0n) return;
    if ((features & this.#accepted & NET_MTU) !== 0n)
      connection.set('NET_SET_MTU', encodeU64(BigInt(this.#mtu)));
  }

  /** Says whether the backend does that; where not, it is told to use as many as before. */
  #usePairs(pairs: number): boolean {
    const before = this.#pairs;
    this.#pairs = pairs;
    if (!this.#handedOver) return true;
    return this.#link.use((connection, greeting) => {
      try {
        this.#enableUsed(connection, greeting);
        return true;
      } catch (error) {
        this.#pairs = before;
        if (!isRefusal(error)) throw error;
        this.#log.warn({ device: this.name, err: error, pairs }, 'backend does not use so many queue pairs');
        this.#enableUsed(connection, greeting);
        return false;
      }
    });
  }

  #enableUsed(connection: Connection, greeting: Greeting): void {
    this.#forEachRing((queue) => {
      setEnabled(connection, greeting, queue, queue < this.#pairs * QUEUES_PER_PAIR);
    });
  }

  /** When this returns the backend uses no buffer any more, or has gone. */
  #reset(): void {
    const handedOver = this.#handedOver;
    const queues = this.#rings.flatMap((ring, queue) => (ring === undefined ? [] : [queue]));
    this.#rings.length = 0;
    this.#handedOver = false;
    this.#status = 0;
    this.#accepted = 0n;
    this.#featuresRefused = false;
    this.#pairs = 1;
    this.#events.takeError();
    if (this.#link.lost !== undefined) {
      this.#missed = false;
      this.#updateKeepAlive();
      return;
    }
    try {
      this.#link.use((connection, greeting) => {
        if (handedOver) for (const queue of queues) takeBack(connection, greeting, queue);
        tellReset(connection, greeting);
      });
    } catch (error) {
      // What has closed its end has let go of everything.
      if (!isDisconnect(error)) throw error;
    }
  }

  #ringOf(queue: number): Ring {
    const ring = this.#rings[queue];
    if (ring !== undefined) return ring;
    throw queueUnavailable(this.name, queue, 'is not enabled');
  }

  #forEachRing(act: (queue: number, ring: Ring) => void): void {
    for (const [queue, ring] of this.#rings.entries()) if (ring !== undefined) act(queue, ring);
  }
}

/** Beside the rings there is little to reset; a backend that knows one of these forgets the rest as well. */
function tellReset(connection: Connection, { protocol }: Greeting): void {
  if ((protocol & PROTOCOL_FEATURE.STATUS) !== 0n) connection.setU64('SET_STATUS', 0n);
  else if ((protocol & PROTOCOL_FEATURE.RESET_DEVICE) !== 0n) connection.set('RESET_DEVICE');
}
