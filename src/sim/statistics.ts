/** What a simulated device counts. */

/** What was counted of one queue. */
export interface SimulatedQueueStatistics {
  /** Frames, and their bytes without the headers of virtio; commands of the control queue are not counted here. */
  readonly frames: number;
  readonly bytes: number;
  /** Frames that were to go through this queue and did not, and those among them that found no buffer. */
  readonly drops: number;
  readonly dropsNoBuffer: number;
  /** Available buffer notifications that came. */
  readonly notifications: number;
  /** Used buffer notifications that were sent. */
  readonly interruptsSent: number;
  /** Frames with a partial checksum, and those whose checksum the device says to have found right. */
  readonly checksumsNeeded: number;
  readonly checksumsValid: number;
  /** Frames to be segmented, or that a driver may take as one though they came as several; and their bytes. */
  readonly gsoFrames: number;
  readonly gsoBytes: number;
  /** The frames that the wire carries for them, and their bytes; transmit queues only. */
  readonly segments: number;
  readonly segmentBytes: number;
}

/** What a simulated device has counted since it was made. */
export interface SimulatedStatistics {
  /** Frames and bytes that the driver sent, headers of virtio left out. */
  readonly transmittedFrames: number;
  readonly transmittedBytes: number;
  /** Frames that the driver sent while the link was down. */
  readonly transmitDrops: number;
  /** Frames and bytes that the driver was given, headers of virtio left out. */
  readonly receivedFrames: number;
  readonly receivedBytes: number;
  /** Frames from the wire for which the driver had no receive buffer, or too small a one. */
  readonly dropsNoBuffer: number;
  /** Frames from the wire while the link was down. */
  readonly dropsLinkDown: number;
  /** Frames from the wire while no driver was at work, or the queue that they belong to was reset. */
  readonly dropsNotReady: number;
  /** Frames from the wire that are longer than the MTU allows. */
  readonly dropsTooLong: number;
  /** Frames from the wire that the driver did not want: by their address, or their VLAN. */
  readonly dropsFiltered: number;
  /** Available buffer notifications that came. */
  readonly notifications: number;
  /** Those among them that the device had not asked for. */
  readonly notificationsUnneeded: number;
  /** Used buffer notifications that were sent; several may be delivered as one. */
  readonly interruptsSent: number;
  /** Used buffer notifications that the driver had asked not to get. */
  readonly interruptsSuppressed: number;
  /** Used buffer notifications that were put off, as the driver had asked (notification coalescing). */
  readonly interruptsCoalesced: number;
  /** Configuration change notifications that were sent. */
  readonly configInterrupts: number;
  /** The same by queue, in the order of their indexes. */
  readonly queues: readonly SimulatedQueueStatistics[];
}

export type QueueCounters = { -readonly [Name in keyof SimulatedQueueStatistics]: number };

type Totals = Omit<SimulatedStatistics, 'queues'>;
export type Counters = { -readonly [Name in keyof Totals]: number } & { readonly queues: QueueCounters[] };

export function noCounts(queueCount: number): Counters {
  return {
    transmittedFrames: 0,
    transmittedBytes: 0,
    transmitDrops: 0,
    receivedFrames: 0,
    receivedBytes: 0,
    dropsNoBuffer: 0,
    dropsLinkDown: 0,
    dropsNotReady: 0,
    dropsTooLong: 0,
    dropsFiltered: 0,
    notifications: 0,
    notificationsUnneeded: 0,
    interruptsSent: 0,
    interruptsSuppressed: 0,
    interruptsCoalesced: 0,
    configInterrupts: 0,
    queues: Array.from({ length: queueCount }, noQueueCounts),
  };
}

function noQueueCounts(): QueueCounters {
  return {
    frames: 0,
    bytes: 0,
    drops: 0,
    dropsNoBuffer: 0,
    notifications: 0,
    interruptsSent: 0,
    checksumsNeeded: 0,
    checksumsValid: 0,
    gsoFrames: 0,
    gsoBytes: 0,
    segments: 0,
    segmentBytes: 0,
  };
}
