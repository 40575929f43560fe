import type { Logger } from '../log.js';
import { SILENT } from '../log.js';
import { UsageError } from '../errors.js';

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

/**
 * The logger of a program that passes none: a pino logger on standard error if the environment variable
 * VIRTIO_NET_LOG names a level, else silence. pino is loaded only where it is used.
 *
 * @throws UsageError OPTION_INVALID if VIRTIO_NET_LOG is set to something else
 */
export async function defaultLogger(): Promise<Logger> {
  const level = process.env.VIRTIO_NET_LOG ?? '';
  if (level === '' || level === 'silent') return SILENT;
  if (!LEVELS.includes(level)) {
    throw new UsageError('OPTION_INVALID', `VIRTIO_NET_LOG is ${JSON.stringify(level)}`, {
      remedy: `Set it to one of ${LEVELS.join(', ')}.`,
    });
  }
  const { pino } = await import('pino');
  // Standard output belongs to the program.
  const logger: Logger = pino({ name: 'virtio-net', level }, pino.destination({ dest: 2, sync: true }));
  return logger;
}
