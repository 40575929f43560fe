/** What the kernel says that this process holds, for leak checks. */
import { readFileSync, readdirSync } from 'node:fs';

export function openFileCount(): number {
  return readdirSync('/proc/self/fd').length;
}

/** The lines of /proc/self/maps whose range holds the address. */
export function mappingsAt(address: number): string[] {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => {
      const [start = NaN, end = NaN] = (line.split(' ')[0] ?? '').split('-').map((hex) => parseInt(hex, 16));
      return start <= address && address < end;
    });
}

/** The number of shared anonymous mappings, which is what DMA memory is made of. */
export function sharedAnonymousCount(): number {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes('/dev/zero (deleted)')).length;
}
