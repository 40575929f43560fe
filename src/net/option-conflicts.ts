/** Options that are right one by one, but can not be met together. */
import { UsageError } from '../errors.js';
import { featureEntry, type FeatureName } from './feature-table.js';
import { isUsed } from './features.js';
import type { NetDeviceOptions, Settings } from './options.js';

/** The legacy interface has room for so many feature bits (VIRTIO 1.3, 4.1.4.8). */
const LEGACY_FEATURES = 32;

/**
 * Checks that nothing is asked for that concerns PCI cards only.
 *
 * @throws UsageError OPTION_INVALID
 */
export function checkOptionsWithoutPci(settings: Settings): void {
  const { pciInterface, interruptMode, hugePages, maxVectors } = settings;
  const asked: Partial<Record<keyof NetDeviceOptions, boolean>> = {
    pciInterface: pciInterface !== 'auto',
    interruptMode: interruptMode !== 'auto',
    hugePages: hugePages !== 'auto',
    maxVectors: maxVectors !== undefined,
  };
  const names = Object.entries(asked).flatMap(([name, isAsked]) => (isAsked ? [name] : []));
  if (names.length === 0) return;
  throw invalid(
    `${names.join(', ')} can not be chosen for a transport that is open already`,
    'Leave it out, or give the PCI address of a card in place of the transport.',
  );
}

/**
 * Checks that no two options rule each other out.
 *
 * @throws UsageError OPTION_INVALID
 */
export function checkConflicts(settings: Settings): void {
  checkInterrupts(settings);
  checkQueuePairs(settings);
  checkAddressing(settings);
  checkInterface(settings);
}

function checkInterrupts({ interrupts, interruptMode, maxVectors }: Settings): void {
  const asked = interruptMode === 'auto' ? undefined : `interruptMode is ${interruptMode}`;
  const vectors = maxVectors === undefined ? undefined : `maxVectors is ${maxVectors}`;
  const what = asked ?? vectors;
  if (!interrupts && what !== undefined) {
    throw invalid(`${what}, but interrupts is false`, 'Leave one of them out.');
  }
  if (interruptMode === 'intx' && vectors !== undefined) {
    throw invalid(`${vectors}, but INTx has no vectors`, 'Leave maxVectors out, or choose msix.');
  }
}

function checkQueuePairs({ features, queuePairs }: Settings): void {
  const lacks = (name: FeatureName): boolean => !isUsed(name, features);
  const canNot = lacks('VIRTIO_NET_F_CTRL_VQ') || (lacks('VIRTIO_NET_F_MQ') && lacks('VIRTIO_NET_F_RSS'));
  if (queuePairs === 1 || !canNot) return;
  throw invalid(
    `queuePairs is ${queuePairs}, but the option features leaves out what that needs`,
    'More than one queue pair needs VIRTIO_NET_F_CTRL_VQ, and VIRTIO_NET_F_MQ or VIRTIO_NET_F_RSS.',
  );
}

function checkAddressing({ features, addressing }: Settings): void {
  if (addressing !== 'iova' || !features.unwanted?.includes('VIRTIO_F_ACCESS_PLATFORM')) return;
  throw invalid(
    'addressing is iova, but VIRTIO_F_ACCESS_PLATFORM is unwanted',
    'Without that feature a device reads physical addresses: leave one of them out.',
  );
}

function checkInterface({ features, pciInterface }: Settings): void {
  const modern = (features.required ?? []).filter((name) => featureEntry(name).bit >= LEGACY_FEATURES);
  if (pciInterface !== 'legacy' || modern.length === 0) return;
  throw invalid(
    `pciInterface is legacy, but ${modern.join(', ')} is required`,
    'The legacy interface can not offer that: leave one of them out.',
  );
}

function invalid(what: string, remedy: string): UsageError {
  return new UsageError('OPTION_INVALID', what, { remedy });
}
