/** Ctrl-C, SIGTERM and SIGKILL at any point: the card is given back, or at least can be taken again. */
import { expect, it } from 'vitest';
import { describeVm } from '../vm/describe-vm.js';
import { reported, runGuest } from '../vm/run-guest.js';

const LONG = 900_000;

async function interruptAll(
  signal: string,
  rounds: number,
): Promise<{
  ends: Record<string, number>;
  drivers: Record<string, number>;
}> {
  const { status, output, dmarFaults } = await runGuest(
    ['system/guest/interruptions'],
    `node interruptions.mjs 0000:00:10.0 ${signal} ${rounds}`,
    { nics: [{ bind: false }] },
  );
  expect(status, output).toBe(0);
  expect(dmarFaults).toEqual([]);
  const seen = reported(output);
  expect(seen.afterwards).toBe('works');
  return seen as { ends: Record<string, number>; drivers: Record<string, number> };
}

describeVm('a program that is interrupted at any point', () => {
  it.each([
    ['SIGINT', 30],
    ['SIGTERM', 10],
  ])(
    'gives the card back to the kernel’s driver: %s',
    async (signal, rounds) => {
      const { ends, drivers } = await interruptAll(signal, rounds);
      // Before the program has set its handlers up, the signal simply kills it, with nothing taken yet.
      const { [`killed by ${signal}`]: early = 0, ...others } = ends;
      for (const kind of Object.keys(others)) {
        expect(['status 1, silent', 'status 1 with no replies', 'status 0 with some replies']).toContain(
          kind,
        );
      }
      expect(ends['status 0 with some replies']).toBeGreaterThan(0);
      expect(early).toBeLessThan(rounds);
      expect(drivers).toEqual({ 'virtio-pci': rounds });
    },
    LONG,
  );

  it(
    'leaves the card so that it can be taken again: SIGKILL',
    async () => {
      const { ends, drivers } = await interruptAll('SIGKILL', 20);
      expect(ends).toEqual({ 'killed by SIGKILL': 20 });
      expect(drivers['vfio-pci']).toBeGreaterThan(0);
    },
    LONG,
  );
});
