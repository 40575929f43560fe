import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';

/** Makes lines of the pieces of a stream of UTF-8 text. */
export class LineSplitter {
  readonly #decoder = new StringDecoder('utf8');
  #rest = '';

  /** The lines that end in this piece, without their line ends. */
  push(chunk: Buffer): string[] {
    const lines = (this.#rest + this.#decoder.write(chunk)).split('\n');
    this.#rest = lines.pop() ?? '';
    return lines.map((line) => line.replace(/\r$/, ''));
  }

  /** What came after the last line end; nothing where that was empty. */
  end(): string[] {
    const rest = this.#rest + this.#decoder.end();
    this.#rest = '';
    return rest === '' ? [] : [rest];
  }
}

/** Calls `action` with each line of a stream. That the stream breaks off is for others to notice. */
export function eachLine(stream: Readable, action: (line: string) => void): void {
  const splitter = new LineSplitter();
  stream.on('data', (chunk: Buffer) => splitter.push(chunk).forEach(action));
  stream.on('end', () => splitter.end().forEach(action));
  stream.on('error', () => undefined);
}
