/**
 * Bringing a device up, and back to rest, in the order that the specification asks for (VIRTIO 1.3, 3.1).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { DeviceError } from '../errors.js';
import { STATUS, type Transport } from '../transport/transport.js';
import type { NegotiatedFeatures } from './features.js';

/** How long to wait between two looks at the status, in milliseconds. */
const LOOK_EVERY_MS = 1;

/**
 * Resets the device and waits until its status reads back as 0.
 *
 * @param timeout - in milliseconds
 * @param signal - ends the waiting, not the reset
 * @throws DeviceError DEVICE_RESET_TIMEOUT; the signal's reason
 */
export async function resetDevice(
  transport: Transport,
  timeout: number,
  signal?: AbortSignal,
): Promise<void> {
  transport.writeStatus(0);
  const deadline = performance.now() + timeout;
  while (transport.readStatus() !== 0) {
    if (performance.now() >= deadline) throw resetTimeout(transport, timeout);
    await sleep(LOOK_EVERY_MS);
    signal?.throwIfAborted();
  }
}

/**
 * Takes a device that was just reset through the negotiation, up to FEATURES_OK, where there is that.
 *
 * @param choose - chooses among the offered bits
 * @throws DeviceError DEVICE_FEATURE_MISSING, DEVICE_FEATURES_REFUSED
 */
export function negotiate(
  transport: Transport,
  choose: (offered: bigint) => NegotiatedFeatures,
): NegotiatedFeatures {
  addStatus(transport, STATUS.ACKNOWLEDGE);
  addStatus(transport, STATUS.DRIVER);
  const features = choose(transport.readDeviceFeatures());
  transport.writeDriverFeatures(features.negotiatedBits);
  // The legacy interface knows no FEATURES_OK: what was written holds (3.1.2).
  if (transport.legacy) return features;
  addStatus(transport, STATUS.FEATURES_OK);
  if ((transport.readStatus() & STATUS.FEATURES_OK) === 0) throw featuresRefused(transport, features);
  return features;
}

/** Whether the device has failed, and asks to be reset (2.1.2). */
export function needsReset(transport: Transport): boolean {
  return (transport.readStatus() & STATUS.DEVICE_NEEDS_RESET) !== 0;
}

/** Sets a bit of the device status; a driver never clears one but by a reset (2.1.1). */
export function addStatus(transport: Transport, bit: number): void {
  transport.writeStatus(transport.readStatus() | bit);
}

/** Tells the device that the driver has given up on it, as far as that is still possible (3.1.1). */
export function giveUp(transport: Transport): void {
  addStatus(transport, STATUS.FAILED);
}

/** A device may insist on a feature that it offers, as many do on VIRTIO_F_ACCESS_PLATFORM (6.1). */
function featuresRefused(transport: Transport, { negotiated, leftOut }: NegotiatedFeatures): DeviceError {
  return new DeviceError(
    'DEVICE_FEATURES_REFUSED',
    `${transport.name} refused the features ${negotiated.join(', ')}`,
    leftOut.length === 0
      ? {}
      : { remedy: `It may insist on what the options leave out: ${leftOut.join(', ')}. Want that too.` },
  );
}

function resetTimeout(transport: Transport, timeout: number): DeviceError {
  return new DeviceError(
    'DEVICE_RESET_TIMEOUT',
    `${transport.name} did not finish its reset within ${timeout} ms: its status is ${transport.readStatus()}`,
  );
}
