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
  /** Frames from the wire while no driver was at work. */
  readonly dropsNotReady: number;
  /** Frames from the wire that are longer than the MTU allows. */
  readonly dropsTooLong: number;
  /** Available buffer notifications that came. */
  readonly notifications: number;
  /** Those among them that the device had not asked for. */
  readonly notificationsUnneeded: number;
  /** Used buffer notifications that were sent; several may be delivered as one. */
  readonly interruptsSent: number;
  /** Used buffer notifications that the driver had asked not to get. */
  readonly interruptsSuppressed: number;
  /** Configuration change notifications that were sent. */
  readonly configInterrupts: number;
}

export type Counters = { -readonly [Name in keyof SimulatedStatistics]: number };

export function noCounts(): Counters {
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
    notifications: 0,
    notificationsUnneeded: 0,
    interruptsSent: 0,
    interruptsSuppressed: 0,
    configInterrupts: 0,
  };
}
