/** A folder for sockets and a backend, for as long as something is measured over it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startBackend, type BackendOptions } from './vhost-backend.js';

/**
 * Starts a backend with one socket, and ends it afterwards.
 *
 * @param use - is given the path of the socket
 */
export async function withBackend<Result>(
  options: Omit<BackendOptions, 'sockets'>,
  use: (socket: string) => Promise<Result>,
): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'virtio-net-bench-'));
  try {
    const socket = join(folder, 'socket');
    const backend = await startBackend({ ...options, sockets: [socket] });
    try {
      return await use(socket);
    } finally {
      await backend.quit();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
