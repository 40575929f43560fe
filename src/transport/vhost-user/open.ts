/** Opening a device behind a vhost-user socket. */
import { Buffer } from 'node:buffer';
import { isAbsolute } from 'node:path';
import { UsageError } from '../../errors.js';
import type { Logger } from '../../log.js';
import { LONGEST_SOCKET_PATH } from '../../native/unix-socket.js';
import type { HugePages } from '../../vfio/huge-pages.js';
import type { Transport } from '../transport.js';
import type { CardSettings } from './config-space.js';
import { Link } from './link.js';
import { VhostUserMemory } from './memory.js';
import { ClientPeers } from './peers.js';
import { ServerPeers } from './server-peers.js';
import { VhostUserTransport } from './transport.js';

export interface OpenVhostUserOptions extends CardSettings {
  readonly log: Logger;
  readonly hugePages: HugePages;
  /** For each request, in milliseconds. */
  readonly timeout: number;
  /** Whether to make the socket and wait for the backend, which connects. */
  readonly server: boolean;
  /** Whether to connect again when the backend has gone. */
  readonly reconnect: boolean;
  readonly signal: AbortSignal | undefined;
}

/**
 * Connects to the backend that listens at a path, or waits at the path until one has connected.
 *
 * @throws UsageError OPTION_INVALID for a path that no socket can have; VhostUserError; the reason of `signal`
 */
export async function openVhostUserTransport(
  path: string,
  options: OpenVhostUserOptions,
): Promise<Transport> {
  checkPath(path);
  const { log, hugePages, timeout, server, reconnect, signal, mac, mtu } = options;
  signal?.throwIfAborted();
  const name = `vhost-user:${path}`;
  const place = lasting(path);
  const peers = server ? ServerPeers.create(place) : new ClientPeers(place);
  const link = await Link.open({ peers, name, timeout, reconnect, log }, signal);
  const memory = new VhostUserMemory({ hugePages, sysfsRoot: '/sys' });
  return new VhostUserTransport({ name, link, memory, card: { mac, mtu }, reconnect, log });
}

/** Where it has gone to another folder meanwhile, a program means the same socket as before. */
function lasting(path: string): string {
  const full = isAbsolute(path) ? path : `${process.cwd()}/${path}`;
  return Buffer.byteLength(full) <= LONGEST_SOCKET_PATH ? full : path;
}

function checkPath(path: string): void {
  const length = Buffer.byteLength(path);
  if (length > 0 && length <= LONGEST_SOCKET_PATH && !path.includes('\0')) return;
  throw new UsageError('OPTION_INVALID', `${JSON.stringify(path)} can not be the path of a socket`, {
    remedy: `Write vhost-user:/path/to/the.sock, the path having at most ${LONGEST_SOCKET_PATH} bytes.`,
  });
}
