/** Cards that are unplugged while a program drives them. */
import { expect, it } from 'vitest';
import { describeVm } from '../vm/describe-vm.js';
import { reported, runGuest } from '../vm/run-guest.js';

const PORTS = ['port0', 'port1'];
const CARDS = ['0000:01:00.0', '0000:02:00.0'];

describeVm('a card that is unplugged', () => {
  it('ends in one event and a clean close, with interrupts and polled', async () => {
    const ports = PORTS.flatMap((id, at) => [
      '-device',
      `pcie-root-port,id=${id},bus=pcie.0,addr=${(0x14 + at).toString(16)}.0,chassis=${at + 1}`,
    ]);
    const { status, output, dmarFaults } = await runGuest(
      ['system/guest/removal'],
      `node removal.mjs 0000:00:10.0 ${CARDS.join(' ')}`,
      {
        nics: [
          { properties: 'addr=10.0' },
          ...CARDS.map((address, at) => ({ properties: `bus=${PORTS[at]}`, address })),
        ],
        extraQemuArgs: ports,
        onLine: async (line, running) => {
          const at = CARDS.findIndex((address) => line.includes(`unplugged","value":"${address}"`));
          if (at >= 0) await running.qmp('device_del', { id: `nic${at + 1}` });
        },
      },
    );
    expect(status, output).toBe(0);
    const results = reported(output);
    for (const address of CARDS) {
      const { holds, ...rest } = results[address] as { holds: { before: unknown; after: unknown } };
      expect(rest).toEqual({
        answered: true,
        told: ['removed', 'close'],
        ended: 'DEVICE_REMOVED',
        late: 'DEVICE_REMOVED',
        state: 'closed',
        gone: true,
      });
      expect(holds.after).toEqual(holds.before);
    }
    expect(dmarFaults).toEqual([]);
  });
});
