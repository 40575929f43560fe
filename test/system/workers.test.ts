/** Queue pairs of a real card in worker threads. */
import { expect, it } from 'vitest';
import { describeVm } from '../vm/describe-vm.js';
import { tapNetwork } from '../vm/namespace.js';
import { reported, runGuest } from '../vm/run-guest.js';

const { cardIp, hostIp } = tapNetwork(0);

function seen(hasInterrupts: boolean): unknown {
  return {
    replies: [50, 50],
    counted: [hasInterrupts, true, true],
    restarted: [10, 10],
    reset: [10, 10],
    terminated: 10,
    busy: 'number',
    state: 'running',
    left: 'DEVICE_CLOSED',
  };
}

describeVm('a card with one queue pair in a worker', () => {
  it.each(['', ',packed=on'])(
    'carries frames over both, and leaves nothing behind: mq=on%s',
    async (more) => {
      const { status, output, dmarFaults } = await runGuest(
        ['system/guest/workers'],
        `node workers.mjs 0000:00:10.0 ${cardIp} ${hostIp}`,
        { nics: [{ tap: { queues: 2 }, dump: false, properties: `mq=on,vectors=6${more}` }] },
      );
      expect(status, output).toBe(0);
      const { seen: all, before, after } = reported(output);
      expect(all).toEqual({
        warm: seen(true),
        interrupts: seen(true),
        polled: seen(false),
        fewVectors: seen(true),
      });
      expect(after).toEqual(before);
      expect(dmarFaults).toEqual([]);
    },
  );
});
