/**
 * What the driver counts. All counts are of this driver since `open()`, in frames unless said otherwise.
 */

/** Counters of one direction. */
export class QueueCounters {
  frames = 0;
  bytes = 0;
}

/** Why a received frame was not handed on. */
export class ReceiveDrops {
  short = 0;
  offload = 0;
  iteratorFull = 0;
}

/** Interrupts of the queues of a pair, by what they turned out to be. */
export class QueueInterruptCounters {
  receive = 0;
  transmit = 0;
  spurious = 0;
}

/** Available buffer notifications: how often the device had to be told of new buffers. */
export interface NotificationStatistics {
  /** Notifications written to the device. */
  readonly sent: number;
  /** Bursts after which none was needed, because the device had not asked for one. */
  readonly suppressed: number;
}

/** A snapshot of the counters of a queue pair. */
export interface QueuePairStatistics {
  readonly receive: {
    readonly frames: number;
    /** Bytes of frames, without virtio-net header and FCS. */
    readonly bytes: number;
    readonly drops: {
      /** Too short to be an Ethernet frame. */
      readonly short: number;
      /**
       * The device asked for something that was not negotiated, or that does not fit the frame: a checksum outside of
       * it, a kind of segmentation that the driver does not expect.
       */
      readonly offload: number;
      /** The queue of an iterator was full. */
      readonly iteratorFull: number;
    };
    /** How often the ring could not be filled up because the pool had no free buffer. */
    readonly refillShortfalls: number;
    readonly notifications: NotificationStatistics;
  };
  readonly transmit: {
    /** Frames handed to the device. */
    readonly frames: number;
    readonly bytes: number;
    /** Frames that the device has finished with. */
    readonly completed: number;
    /** How often a frame was not taken because the ring was full. */
    readonly ringFull: number;
    readonly notifications: NotificationStatistics;
  };
  /** Where there are fewer vectors than queues, an interrupt counts once for each that shares its vector. */
  readonly interrupts: {
    /** Those after which received frames were found. */
    readonly receive: number;
    /** Those after which finished transmissions were found. */
    readonly transmit: number;
    /** Those after which nothing was found. */
    readonly spurious: number;
  };
  readonly pool: {
    /** Packet buffers in all. */
    readonly size: number;
    /** Packet buffers that nobody has. */
    readonly available: number;
  };
}

/** A snapshot of the counters of a device: those of its queue pairs added up, and of each. */
export interface NetStatistics extends QueuePairStatistics {
  readonly interrupts: QueuePairStatistics['interrupts'] & {
    /** Those of the configuration. */
    readonly config: number;
    /** Those of another device, with which this one shares its INTx. */
    readonly foreign: number;
  };
  /** Counters of each queue pair that is open. */
  readonly queuePairs: readonly QueuePairStatistics[];
}
