/** Closing a virtio device behind PCI, whichever interface it is driven through. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../log.js';
import type { PciFunction, RegisterWindow } from '../pci/pci-function.js';
import type { PciInterrupts } from './pci-interrupts.js';
import type { Presence } from './presence.js';

/** Pauses between reads of the status while a device resets, in milliseconds. */
const RESET_PAUSES = [0, 1, 2, 5, 10, 20, 50, 100, 200];

/** What is to be given back. */
export interface ClosingParts {
  readonly log: Logger;
  readonly pciFunction: PciFunction;
  readonly presence: Presence;
  readonly interrupts: PciInterrupts;
  /** What is open by then. */
  windows(): readonly RegisterWindow[];
  /** Asks the device for a reset. */
  askForReset(): void;
  /** Gives the card back to the kernel. */
  readonly release: (() => Promise<void>) | undefined;
}

/**
 * Resets the device, so that it no longer touches memory, then gives everything back. Every step is done even
 * if one before it failed; the first failure is thrown at the end.
 */
export async function closePci(parts: ClosingParts): Promise<void> {
  const { pciFunction, interrupts, log } = parts;
  interrupts.mute();
  let quiet = false;
  const steps: Step[] = [
    ['listen no longer for its removal', () => pciFunction.onRemovalRequest(undefined)],
    ['reset the device', async () => void (quiet = await resetDevice(parts))],
    ['turn bus mastering off', () => pciFunction.disable()],
    ['reset the function', () => quiet || resetFunction(parts)],
    ['turn interrupts off', () => interrupts.disable()],
    ...parts.windows().map((window): Step => ['close a BAR', () => window.close()]),
    ['close the function', () => pciFunction.close()],
    ['give the device back', () => parts.release?.()],
  ];
  await runAll(steps, (step, error) =>
    log.error({ bdf: pciFunction.address, step, err: error }, 'a step of closing failed'),
  );
}

/** Says whether the device is at rest: one that hangs is not; one that has gone touches no memory either. */
async function resetDevice({ presence, ...parts }: ClosingParts): Promise<boolean> {
  parts.askForReset();
  for (const pause of RESET_PAUSES) {
    if (pause > 0) await sleep(pause);
    const status = presence.statusIfThere;
    if (status === undefined || status === 0) return true;
  }
  return false;
}

function resetFunction({ pciFunction, log }: ClosingParts): void {
  const bdf = pciFunction.address;
  log.warn({ bdf }, 'the device did not reset itself; resetting its PCI function');
  if (pciFunction.reset()) return;
  log.warn({ bdf }, 'the PCI function could not be reset either');
}

type Step = [name: string, run: () => unknown];

/** Runs each step, whatever happened in those before, and throws the first failure at the end. */
async function runAll(steps: readonly Step[], report: (step: string, error: unknown) => void): Promise<void> {
  const failures: unknown[] = [];
  for (const [name, run] of steps) {
    try {
      await run();
    } catch (error) {
      report(name, error);
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
