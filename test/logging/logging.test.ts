/** What a logger is told, and which one there is where none was given. */
import { pino } from 'pino';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { SILENT } from '../../src/log.js';
import { defaultLogger } from '../../src/logging/default-logger.js';
import { NetDevice } from '../../src/net-device.js';
import { createSimulatedDevice } from '../../src/sim/index.js';

afterEach(() => vi.unstubAllEnvs());

describe('the logger of a program that gives none', () => {
  it.each(['', 'silent'])('says nothing where VIRTIO_NET_LOG is "%s"', async (level) => {
    vi.stubEnv('VIRTIO_NET_LOG', level);
    expect(await defaultLogger()).toBe(SILENT);
  });

  it('has the level that VIRTIO_NET_LOG names', async () => {
    vi.stubEnv('VIRTIO_NET_LOG', 'warn');
    expect(await defaultLogger()).toMatchObject({ level: 'warn' });
  });

  it('refuses a level that there is not, and names those that there are', async () => {
    vi.stubEnv('VIRTIO_NET_LOG', 'loud');
    await expect(defaultLogger()).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: expect.stringMatching(/"loud".*trace, debug, info/) as string,
    });
  });
});

describe('a pino logger', () => {
  it('is told why a device failed', async () => {
    const lines: Record<string, unknown>[] = [];
    const logger = pino(
      { level: 'error' },
      { write: (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>) },
    );
    const simulated = createSimulatedDevice();
    const device = await NetDevice.open(simulated.transport, { logger, interrupts: false });
    await device.start();
    simulated.needsReset();
    expect(() => device.poll()).toThrow(expect.objectContaining({ code: 'DEVICE_NEEDS_RESET' }));
    await device.close();
    expect(lines).toMatchObject([
      {
        msg: 'device failed',
        // Under another name pino writes no message and no stack.
        err: { code: 'DEVICE_NEEDS_RESET', message: expect.stringContaining('reset()') as string },
      },
    ]);
  });
});
