/** Reading and writing sysfs attributes: small text files that the kernel acts upon. */
import { constants } from 'node:fs';
import { open, readdir, readFile, readlink } from 'node:fs/promises';
import { basename } from 'node:path';
import { PciError } from '../errors.js';

/** The files and folders below a device that are simply not there are told by these errno names. */
const ABSENT = new Set(['ENOENT', 'ENOTDIR', 'ENODEV']);
const DENIED = new Set(['EACCES', 'EPERM', 'EROFS']);

/** Whether the error says that the file, or the device behind it, does not exist. */
export function isAbsent(error: unknown): boolean {
  return ABSENT.has(errnoName(error));
}

/** The symbolic errno of a system error, for example `EBUSY`; empty for any other value. */
export function errnoName(error: unknown): string {
  return (error as NodeJS.ErrnoException | undefined)?.code ?? '';
}

/** What an error says, whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message.trim() : String(error);
}

/** Reads an attribute without its newline; undefined where there is none. */
export async function readAttribute(path: string): Promise<string | undefined> {
  return unlessAbsent(async () => (await readFile(path, 'latin1')).trim());
}

/** Reads an attribute that holds a number, such as `0x1af4` or `12`; undefined where there is none. */
export async function readNumber(path: string): Promise<number | undefined> {
  const text = await readAttribute(path);
  return text === undefined || text === '' ? undefined : Number(text);
}

/** The last part of where a link points to: sysfs names a driver or a group that way. */
export async function readLinkName(path: string): Promise<string | undefined> {
  return unlessAbsent(async () => basename(await readlink(path)));
}

/** The names in a folder, sorted; undefined where there is no such folder. */
export async function listNames(path: string): Promise<string[] | undefined> {
  return unlessAbsent(async () => (await readdir(path)).sort());
}

/**
 * Writes an attribute with one write call.
 *
 * The file is never created: a missing attribute is an error, not a new file.
 */
export async function writeAttribute(path: string, value: string): Promise<void> {
  const file = await open(path, constants.O_WRONLY);
  try {
    await file.writeFile(value);
  } finally {
    await file.close();
  }
}

/**
 * The error to throw when writing an attribute failed.
 *
 * @param doing - what was being done, as the start of a sentence: `Unbinding 0000:00:10.0 from virtio-pci`
 */
export function writeFailure(doing: string, path: string, error: unknown): PciError {
  const name = errnoName(error);
  const errno = (error as NodeJS.ErrnoException | undefined)?.errno;
  return new PciError(
    DENIED.has(name) ? 'PCI_PERMISSION_DENIED' : 'PCI_BIND_FAILED',
    `${doing} failed: write ${path}: ${name === '' ? String(error) : name}`,
    { syscall: `write ${path}`, errno: errno === undefined ? undefined : Math.abs(errno), cause: error },
  );
}

async function unlessAbsent<T>(read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
