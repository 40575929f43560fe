import fc from 'fast-check';

export const mac = fc.uint8Array({ minLength: 6, maxLength: 6 });
export const ip = fc.uint8Array({ minLength: 4, maxLength: 4 });
export const u16 = fc.integer({ min: 0, max: 0xffff });
export const u8 = fc.integer({ min: 0, max: 0xff });

export function hex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/[0-9a-f]{2}/gi) ?? [], (byte) => Number.parseInt(byte, 16));
}

/** The checksum as RFC 1071 words it, with the carry added back after each word, on BigInts. */
export function naiveChecksum(bytes: Uint8Array): number {
  let sum = 0n;
  for (let at = 0; at < bytes.length; at += 2) {
    sum += (BigInt(bytes[at] ?? 0) << 8n) + BigInt(bytes[at + 1] ?? 0);
    if (sum >= 0x10000n) sum = sum - 0x10000n + 1n;
  }
  return Number(0xffffn - sum);
}

/** The bytes at an offset in a larger array of garbage, so that reading beyond `end` shows. */
export function embed(bytes: Uint8Array, before: number): { array: Uint8Array; offset: number; end: number } {
  const array = new Uint8Array(before + bytes.length + 64).fill(0xa5);
  array.set(bytes, before);
  return { array, offset: before, end: before + bytes.length };
}
