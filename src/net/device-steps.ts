/**
 * The steps between the states of a device: through the negotiation again, to rest, and back to whom it belongs.
 */
import { DeviceError } from '../errors.js';
import type { Transport } from '../transport/transport.js';
import type { ControlSession } from './control/control-session.js';
import type { Datapath } from './datapath.js';
import type { NegotiatedFeatures } from './features.js';
import { freeAll } from './free-all.js';
import { negotiate, resetDevice } from './initialisation.js';
import type { Settings } from './options.js';
import type { QueuePair } from './queue-pair.js';
import type { Leases } from './sharing/leases.js';

export interface DeviceParts {
  readonly transport: Transport;
  readonly settings: Settings;
  readonly features: NegotiatedFeatures;
  readonly queuePairs: readonly QueuePair[];
  readonly control: ControlSession;
  readonly datapath: Datapath;
  readonly leases: Leases;
}

/** Takes a device that was reset through the negotiation again: with the very same features. */
export function negotiateAgain({ transport, features }: DeviceParts): void {
  negotiate(transport, (offered) => {
    if ((features.negotiatedBits & ~offered) === 0n) return features;
    throw new DeviceError('DEVICE_FEATURE_MISSING', `${transport.name} no longer offers what it did`, {
      remedy: 'Close the device and open it again.',
    });
  });
}

/**
 * Ends all activity, that of other threads as well, and resets the device: once it was reset nobody may notify it (VIRTIO
 * 1.3, 3.1.1). One whose interrupts can not be turned off is reset all the same.
 */
export async function haltAndReset(parts: DeviceParts): Promise<void> {
  const { datapath, control, transport, leases, settings } = parts;
  control.halt();
  try {
    datapath.halt();
  } finally {
    await leases.settle(settings.drainTimeout);
    await resetDevice(transport, settings.resetTimeout);
  }
}

/**
 * Gives memory and transport back. A device that did not stop may still write to its buffers: they go only after the
 * transport has cut it off.
 */
export async function giveBack(
  { queuePairs, control, transport, leases }: DeviceParts,
  atRest: boolean,
): Promise<void> {
  const memory = [...queuePairs, leases, control];
  try {
    if (atRest) freeAll(memory);
  } finally {
    try {
      await transport.close();
    } finally {
      freeAll(memory);
    }
  }
}
