/**
 * Short frames that many packets are made from.
 *
 * `TypedArray.prototype.set` takes some 10 ns whatever the length, which is more than all else that a short frame needs.
 * Eight bytes at a time, in a loop that V8 compiles, 64 bytes take 2 ns; but for that there must be a view of the bytes in
 * units of eight, and making one costs far more than it saves. So the view is made when the same array comes a second
 * time, as that of a program that generates traffic does, and kept until another one does.
 */

/** From here on copying by `set` is faster. */
export const SHORT_FRAME = 128;

const NO_FRAME = new Uint8Array(0);
const NOTHING = new BigUint64Array(0);
const NOTHING_32 = new Int32Array(0);

/** What a buffer says of itself that may become longer or shorter. */
type Resizable = Readonly<Partial<Record<'resizable' | 'growable', boolean>>>;

export class FrameSource {
  /** The array whose bytes {@link words} shows. */
  frame: Uint8Array = NO_FRAME;
  /** As many of its bytes as make up whole units of eight. */
  words: BigUint64Array = NOTHING;
  /** The same in units of four. */
  words32: Int32Array = NOTHING_32;
  /** Its length in bytes, as long as nobody has taken its memory away. */
  length = 0;
  /** The last place in a packet from which on it fits. */
  latestStart = 0;
  private last: Uint8Array | undefined;
  private readonly target: ArrayBufferLike;
  private readonly bufferSize: number;

  /**
   * @param target - the memory that the frames are copied into
   * @param bufferSize - length in bytes of each packet's part of it
   */
  constructor(target: ArrayBufferLike, bufferSize: number) {
    this.target = target;
    this.bufferSize = bufferSize;
  }

  /** Takes note of an array that a frame was copied from in the slow way. */
  note(frame: Uint8Array): void {
    if (frame !== this.last) {
      this.last = frame;
      return;
    }
    // A view of units of eight begins at a multiple of that. One whose memory was taken away has no length either.
    if (frame.length < 8 || frame.length > Math.min(SHORT_FRAME, this.bufferSize)) return;
    if (frame.byteOffset % 8 !== 0) return;
    if (this.overlaps(frame) || mayBeResized(frame)) return;
    this.frame = frame;
    this.words = new BigUint64Array(frame.buffer, frame.byteOffset, frame.length >>> 3);
    this.words32 = new Int32Array(frame.buffer, frame.byteOffset, frame.length >>> 2);
    this.length = frame.length;
    this.latestStart = (this.bufferSize - frame.length) | 0;
  }

  forget(): void {
    this.frame = NO_FRAME;
    this.last = undefined;
    this.words = NOTHING;
    this.words32 = NOTHING_32;
  }

  /** Bytes that may lie where they are copied to: `set` heeds that, a loop that goes forward does not. */
  private overlaps({ buffer }: Uint8Array): boolean {
    return buffer === this.target;
  }
}

/** The array may come to show more bytes, or fewer, than the view that was made of it. */
function mayBeResized({ buffer }: Uint8Array): boolean {
  const { resizable = false, growable = false } = buffer as Resizable;
  return resizable || growable;
}
