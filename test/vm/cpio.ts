/**
 * Writes the "newc" form of a cpio archive, which the Linux kernel unpacks as its initial root file system.
 *
 * The kernel accepts several archives one after the other; a later file replaces an earlier one of its name.
 */
import { createWriteStream, createReadStream, statSync } from 'node:fs';
import { posix } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

const FILE_TYPE = { directory: 0o040000, file: 0o100000, symlink: 0o120000, character: 0o020000 } as const;
const TRAILER = 'TRAILER!!!';
/** Archives end at such a boundary, so that another one can follow. */
const BLOCK_BYTES = 512;

/** What a path in the archive is. Modes are permission bits; everything belongs to root. */
export type ArchiveEntry =
  | { readonly type: 'directory'; readonly mode?: number }
  | { readonly type: 'file'; readonly mode?: number; readonly contents: string | Uint8Array }
  | { readonly type: 'copy'; readonly mode?: number; readonly from: string }
  | { readonly type: 'symlink'; readonly target: string }
  | { readonly type: 'character'; readonly mode?: number; readonly major: number; readonly minor: number };

/** The entries of an archive by their absolute path in the guest. */
export type ArchiveEntries = ReadonlyMap<string, ArchiveEntry>;

interface Header {
  readonly inode: number;
  readonly mode: number;
  readonly size: number;
  readonly major?: number;
  readonly minor?: number;
}

const hex = (value: number): string => value.toString(16).padStart(8, '0');
const padding = (length: number, boundary: number): Buffer =>
  Buffer.alloc((boundary - (length % boundary)) % boundary);

function encodeHeader(name: string, header: Header): Buffer {
  const nameBytes = Buffer.from(`${name}\0`);
  const links = 1;
  const fields = [
    ...[header.inode, header.mode, 0, 0, links, 0, header.size, 0, 0],
    ...[header.major ?? 0, header.minor ?? 0, nameBytes.length, 0],
  ];
  const head = Buffer.concat([Buffer.from(`070701${fields.map(hex).join('')}`), nameBytes]);
  return Buffer.concat([head, padding(head.length, 4)]);
}

function permissions(entry: ArchiveEntry): number {
  switch (entry.type) {
    case 'directory':
      return FILE_TYPE.directory | (entry.mode ?? 0o755);
    case 'file':
      return FILE_TYPE.file | (entry.mode ?? 0o644);
    case 'copy':
      return FILE_TYPE.file | (entry.mode ?? statSync(entry.from).mode & 0o777);
    case 'symlink':
      return FILE_TYPE.symlink | 0o777;
    case 'character':
      return FILE_TYPE.character | (entry.mode ?? 0o600);
  }
}

/** What follows the header: bytes, or a file of this machine of that size. */
type Body = Uint8Array | { readonly from: string; readonly size: number };

function bodyOf(entry: ArchiveEntry): Body {
  if (entry.type === 'file') return Buffer.from(entry.contents);
  if (entry.type === 'copy') return { from: entry.from, size: statSync(entry.from).size };
  return Buffer.from(entry.type === 'symlink' ? entry.target : '');
}

async function* readBody(body: Body): AsyncGenerator<Uint8Array> {
  if (body instanceof Uint8Array) {
    yield body;
    return;
  }
  if (body.size === 0) return;
  let left = body.size;
  // A file that grows meanwhile is cut, one that shrinks is an error: the header is already written.
  for await (const chunk of createReadStream(body.from, { end: body.size - 1 }) as AsyncIterable<Buffer>) {
    left -= chunk.length;
    yield chunk;
  }
  if (left !== 0) throw new Error(`${body.from} shrank while it was packed`);
}

async function* encodeEntry(path: string, entry: ArchiveEntry, inode: number): AsyncGenerator<Uint8Array> {
  const body = bodyOf(entry);
  const size = body instanceof Uint8Array ? body.length : body.size;
  const device = entry.type === 'character' ? { major: entry.major, minor: entry.minor } : {};
  yield encodeHeader(path.replace(/^\/+/, ''), { inode, mode: permissions(entry), size, ...device });
  yield* readBody(body);
  yield padding(size, 4);
}

/** Adds the directories that lie above the entries, and puts every directory before what is in it. */
function withParents(entries: ArchiveEntries): [string, ArchiveEntry][] {
  const all = new Map<string, ArchiveEntry>();
  for (const path of entries.keys()) {
    for (let above = posix.dirname(path); above !== '/'; above = posix.dirname(above)) {
      all.set(above, { type: 'directory' });
    }
  }
  for (const [path, entry] of entries) all.set(path, entry);
  return [...all].sort(([a], [b]) => (a < b ? -1 : 1));
}

async function* encode(entries: ArchiveEntries): AsyncGenerator<Uint8Array> {
  let length = 0;
  let inode = 1;
  for (const [path, entry] of withParents(entries)) {
    for await (const chunk of encodeEntry(path, entry, inode++)) {
      length += chunk.length;
      yield chunk;
    }
  }
  const trailer = encodeHeader(TRAILER, { inode: 0, mode: 0, size: 0 });
  yield trailer;
  yield padding(length + trailer.length, BLOCK_BYTES);
}

/**
 * Writes an archive, replacing the file or appending to it.
 *
 * @throws the error of the file system
 */
export async function writeArchive(
  file: string,
  entries: ArchiveEntries,
  { append = false }: { readonly append?: boolean } = {},
): Promise<void> {
  await pipeline(Readable.from(encode(entries)), createWriteStream(file, { flags: append ? 'a' : 'w' }));
}
