/** Brings the native shim up to date before tests that load it. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const SHIM_FOLDER = fileURLToPath(new URL('../../native-shim/', import.meta.url));
export const SHIM_FILE = `${SHIM_FOLDER}prebuilt/linux-${process.arch}/virtio-net-shim.so`;

/** Builds where a source is newer than the library; safe in several test files at once. */
export function buildShim(): void {
  const sources = readdirSync(SHIM_FOLDER, { withFileTypes: true }).filter((entry) => entry.isFile());
  const newest = Math.max(...sources.map(({ name }) => statSync(SHIM_FOLDER + name).mtimeMs));
  if (existsSync(SHIM_FILE) && statSync(SHIM_FILE).mtimeMs >= newest) return;
  const run = spawnSync(process.execPath, [`${SHIM_FOLDER}build.mjs`], { encoding: 'utf8' });
  if (run.status !== 0) throw new Error(`The shim could not be built: ${run.stdout}${run.stderr}`);
}
