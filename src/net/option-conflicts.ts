/** Options that are right one by one, but can not be met together. */
import { UsageError } from '../errors.js';
import { featureEntry, type FeatureName } from './feature-table.js';
import { isUsed } from './features.js';
import type { NetDeviceOptions, Settings } from './options.js';

/** The legacy interface has room for so many feature bits (VIRTIO 1.3, 4.1.4.8). */
const LEGACY_FEATURES = 32;

/** What the address of a vhost-user socket begins with; its path follows. */
export const VHOST_USER = 'vhost-user:';

/** Options that only some kind of device has, and whether the program has chosen something there. */
const CHOSEN = {
  pciInterface: ({ pciInterface }) => pciInterface !== 'auto',
  interruptMode: ({ interruptMode }) => interruptMode !== 'auto',
  maxVectors: ({ maxVectors }) => maxVectors !== undefined,
  takeOver: ({ takeOver }) => takeOver,
  hugePages: ({ hugePages }) => hugePages !== 'auto',
  vhostUser: ({ vhostUser }) => vhostUser !== undefined,
} satisfies Partial<Record<keyof NetDeviceOptions, (settings: Settings) => boolean>>;

type Special = keyof typeof CHOSEN;

const OF_CARDS: readonly Special[] = ['pciInterface', 'interruptMode', 'maxVectors', 'takeOver'];

/**
 * Checks that nothing is asked for that does not concern the device: a PCI card, a vhost-user socket, or what is behind a
 * transport that is open already.
 *
 * @param target - as `NetDevice.open()` is given it
 * @throws UsageError OPTION_INVALID
 */
export function checkOptionsForTarget(target: unknown, settings: Settings): void {
  if (typeof target !== 'string') {
    // A card that is not taken from the kernel has nobody to be taken from.
    refuseChosen(
      settings,
      ['pciInterface', 'interruptMode', 'hugePages', 'maxVectors', 'vhostUser'],
      [
        'a transport that is open already',
        'Leave it out, or give the address of a device in place of the transport.',
      ],
    );
  } else if (target.startsWith(VHOST_USER)) {
    refuseChosen(settings, OF_CARDS, ['a vhost-user socket', 'Leave it out: it concerns PCI cards.']);
    if (settings.addressing === 'physical') {
      throw invalid(
        'addressing is physical, but memory is shared with a vhost-user backend',
        'Leave it out.',
      );
    }
  } else {
    refuseChosen(
      settings,
      ['vhostUser'],
      ['a PCI card', `Leave it out, or give ${VHOST_USER}/path/to/the.sock.`],
    );
  }
}

function refuseChosen(
  settings: Settings,
  options: readonly Special[],
  [what, remedy]: readonly [string, string],
): void {
  const names = options.filter((name) => CHOSEN[name](settings));
  if (names.length > 0) throw invalid(`${names.join(', ')} can not be chosen for ${what}`, remedy);
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
