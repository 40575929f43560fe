/** Waiting for the device file of an IOMMU group, which the kernel or udev makes after the device was bound. */
import { access } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { PciError } from '../errors.js';
import { withoutGroup } from './no-iommu.js';
import { readGroupId, type SysfsOptions } from './sysfs.js';

/** Where device files are, and how long to wait for one. */
export interface GroupNodeOptions extends SysfsOptions {
  /** Another place than `/dev` is for tests. */
  readonly devRoot?: string | undefined;
  /** How long to wait at most, in milliseconds; 5000 unless told. */
  readonly nodeTimeout?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const DEFAULT_TIMEOUT = 5000;
const FIRST_PAUSE = 2;
const LONGEST_PAUSE = 50;

/**
 * Waits until the group of the device has its file, and returns the path of it: `/dev/vfio/GROUP`, or
 * `/dev/vfio/noiommu-GROUP` where the kernel runs VFIO without an IOMMU.
 *
 * @throws VfioError VFIO_IOMMU_ABSENT, PciError PCI_BIND_FAILED when time is up, the reason of `signal`
 */
export async function waitForGroupNode(devicePath: string, options: GroupNodeOptions = {}): Promise<string> {
  const group = await readGroupId(devicePath);
  if (group === undefined) throw withoutGroup(basename(devicePath), options.sysfsRoot);
  const folder = join(options.devRoot ?? '/dev', 'vfio');
  const candidates = [join(folder, group), join(folder, `noiommu-${group}`)];
  const deadline = performance.now() + (options.nodeTimeout ?? DEFAULT_TIMEOUT);
  for (let pause = FIRST_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
    options.signal?.throwIfAborted();
    for (const path of candidates) if (await exists(path)) return path;
    if (performance.now() >= deadline) throw neverAppeared(candidates[0] ?? folder);
    await pauseUnlessAborted(pause, options.signal);
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** The pause ends early when the signal fires; the caller looks at the signal next. */
async function pauseUnlessAborted(milliseconds: number, signal?: AbortSignal): Promise<void> {
  try {
    await sleep(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    if (signal?.aborted !== true) throw error;
  }
}

function neverAppeared(path: string): PciError {
  return new PciError('PCI_BIND_FAILED', `The device is bound to vfio-pci, but ${path} did not appear`, {
    remedy: 'Check that /dev is a devtmpfs or that udev runs; in a container, pass the device file in.',
  });
}
