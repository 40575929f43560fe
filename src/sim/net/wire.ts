/** The wire side of the card: who gets what the driver sends. */
import type { NetworkHost, SendToDriver } from '../host.js';
import { soon } from '../scheduling.js';
import { NO_OFFLOAD, type FrameOffload } from './offload.js';
import { wireFramesOf, withChecksum } from './segmentation.js';
import type { TakenFrame } from './transmitter.js';

/** What is told along with a frame that the driver sent. */
export interface SentDetails extends FrameOffload {
  /** The transmit queue that it came by. */
  readonly queue: number;
}

/** Gets a copy of each frame that the driver sends, and how it came. */
export type TransmitListener = (frame: Uint8Array, details: SentDetails) => void;

export class Wire {
  readonly #host: NetworkHost | null;
  readonly #segment: boolean;
  readonly #reply: SendToDriver;
  readonly #listeners = new Set<TransmitListener>();

  /** @param segment - whether to cut large packets into the frames that a wire carries */
  constructor(host: NetworkHost | null, segment: boolean, reply: SendToDriver) {
    this.#host = host;
    this.#segment = segment;
    this.#reply = reply;
  }

  onTransmit(listener: TransmitListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Gives a frame to all who listen: as the driver gave it, or as the frames of the wire. */
  send({ frame, offload }: TakenFrame, queue: number): void {
    const onWire = this.#segment ? wireFramesOf(frame, offload) : undefined;
    const details = { ...(onWire === undefined ? offload : NO_OFFLOAD), queue };
    for (const each of onWire ?? [frame]) {
      for (const listener of this.#listeners) callOut(() => listener(each.slice(), details));
      callOut(() => this.#host?.receive(withChecksum(each, details), this.#reply, details));
    }
  }
}

/** Calls the user's code. The device must not stop halfway for its error, so that surfaces by itself. */
function callOut(call: () => void): void {
  try {
    call();
  } catch (error) {
    soon(() => {
      throw error;
    });
  }
}
