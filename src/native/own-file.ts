/** Which file this code is in. */
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The file that holds this code: one of the package, or the bundle that it went into. In a bundle in the CommonJS
 * format, which has no URL of its own, the file that Node was started with stands for it.
 */
export function ownFile(): string {
  const url = ownUrl();
  return url === undefined ? resolve(process.argv[1] ?? 'bundle.cjs') : fileURLToPath(url);
}

/** Undefined in a bundle in the CommonJS format. */
function ownUrl(): string | undefined {
  return import.meta.url;
}
