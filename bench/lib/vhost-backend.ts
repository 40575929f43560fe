/** DPDK's vhost backend for the sections beside the main table: dpdk-testpmd on a processor of its own. */
import { findDpdk, Testpmd } from '../dpdk/testpmd.js';
import type { Processors } from './processors.js';

export interface BackendOptions {
  /** Paths of the sockets that it makes. */
  readonly sockets: readonly string[];
  /** Queue pairs of each. */
  readonly queues?: number;
  /** `txonly` sends frames, `rxonly` takes them, `io` gives them back. */
  readonly forward: 'txonly' | 'rxonly' | 'io';
  readonly processors: Processors;
  readonly signal: AbortSignal;
}

/**
 * Starts it; its sockets are there then, and it forwards.
 *
 * @throws BenchError
 */
export async function startBackend(options: BackendOptions): Promise<Testpmd> {
  const { sockets, queues = 1, forward, processors, signal } = options;
  const testpmd = await Testpmd.start({
    folder: await findDpdk(() => undefined, signal),
    name: 'The backend',
    processor: processors.backend,
    idleProcessor: processors.driver,
    devices: sockets.map((path, index) => `net_vhost${index},iface=${path},queues=${queues}`),
    signal,
  });
  for (const line of [...queueCommands(queues), `set fwd ${forward}`, 'start']) await testpmd.command(line);
  return testpmd;
}

/** One queue pair is what it begins with. */
function queueCommands(queues: number): string[] {
  if (queues === 1) return [];
  return [
    'port stop all',
    `port config all rxq ${queues}`,
    `port config all txq ${queues}`,
    'port start all',
  ];
}
