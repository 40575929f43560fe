/**
 * The memory of one command: what the driver writes, and what the device answers (VIRTIO 1.3, 5.1.6.5).
 */
import type { DmaMemory, DmaRegion } from '../../memory/dma.js';
import type { DescriptorChain } from '../../virtqueue/descriptor-chain.js';
import type { CommandBody, ControlCommand } from './commands.js';

/** Consecutive bytes of a page are consecutive for the device, whatever its addresses. */
const PAGE = 4096;
/** Parts begin on cache lines of their own, so that the two sides do not write into the same one. */
const LINE = 64;
/** Stands where the acknowledgement will be; a device that writes none must not seem to say yes. */
const UNANSWERED = 0xff;
const HEADER_LENGTH = 2;
const ACK_LENGTH = 1;

interface Span {
  readonly at: number;
  readonly length: number;
}

/** Where the parts of a command lie in its region. */
interface ExchangeLayout {
  readonly header: Span;
  readonly data: readonly Span[];
  readonly filled: Span;
  readonly ack: Span;
  readonly result: Span;
  readonly total: number;
}

export class Exchange {
  private readonly region: DmaRegion;
  private readonly owned: boolean;
  private readonly layout: ExchangeLayout;
  private readonly bytes: Uint8Array;

  /**
   * @param page - memory for commands that fit in, which nobody else uses meanwhile; others get memory of their own
   * @param whole - each part must be one descriptor, as the legacy interface asks for (5.1.6.6)
   * @throws MemoryError, VfioError
   */
  constructor(memory: DmaMemory, page: DmaRegion, body: CommandBody, whole: boolean) {
    this.layout = layoutOf(body);
    this.owned = this.layout.total > page.size;
    this.region = this.owned ? memory.allocate(this.layout.total, { contiguous: whole }) : page;
    this.bytes = new Uint8Array(this.region.buffer, 0, this.layout.total);
  }

  /** Writes the command, and lists its parts as the device is to find them. */
  write(command: ControlCommand, { data = [] }: CommandBody, chain: DescriptorChain): void {
    const { bytes, layout } = this;
    bytes.fill(0);
    bytes[layout.header.at] = command.class;
    bytes[layout.header.at + 1] = command.command;
    data.forEach((part, index) => bytes.set(part, layout.data[index].at));
    bytes[layout.ack.at] = UNANSWERED;
    for (const span of [layout.header, ...layout.data]) {
      this.split(span, (lo, hi, length) => chain.addReadable(lo, hi, length));
    }
    for (const span of [layout.filled, layout.ack, layout.result]) {
      this.split(span, (lo, hi, length) => chain.addWritable(lo, hi, length));
    }
  }

  /** What the device acknowledged; neither ACK.OK nor ACK.ERR if it wrote nothing. */
  get ack(): number {
    return this.bytes[this.layout.ack.at];
  }

  /**
   * What the device answered.
   *
   * @param used - how many bytes it says that it wrote
   * @returns a copy: all of what it fills in, then as much of the result as it wrote
   */
  answer(used: number): Uint8Array {
    const { filled, result } = this.layout;
    const length = Math.max(0, Math.min(result.length, used - filled.length - ACK_LENGTH));
    const answer = new Uint8Array(filled.length + length);
    answer.set(this.bytes.subarray(filled.at, filled.at + filled.length));
    answer.set(this.bytes.subarray(result.at, result.at + length), filled.length);
    return answer;
  }

  /** Gives memory of its own back. */
  free(): void {
    if (this.owned) this.region.free();
  }

  /** Calls back for each stretch of the span that the device sees as one. */
  private split({ at, length }: Span, add: (lo: number, hi: number, length: number) => void): void {
    const { region } = this;
    for (let from = at; from < at + length;) {
      const left = at + length - from;
      const piece = region.isContiguous(from, left) ? left : Math.min(left, PAGE - (from % PAGE));
      const { lo, hi } = region.addressOf(from);
      add(lo, hi, piece);
      from += piece;
    }
  }
}

function layoutOf({ data = [], filledLength = 0, resultLength = 0 }: CommandBody): ExchangeLayout {
  let end = 0;
  const place = (length: number): Span => {
    const at = end;
    end = Math.ceil((at + length) / LINE) * LINE;
    return { at, length };
  };
  const header = place(HEADER_LENGTH);
  const parts = data.map(({ length }) => place(length));
  const filled = place(filledLength);
  const ack = place(ACK_LENGTH);
  const result = place(resultLength);
  return { header, data: parts, filled, ack, result, total: end };
}
