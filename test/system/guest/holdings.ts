import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Holdings {
  /** What the open file descriptors lead to. */
  readonly files: readonly string[];
  /** Mappings that a driver makes: of VFIO regions, and of shared memory for DMA. */
  readonly mappings: number;
  /** Locked and pinned memory, in KiB. */
  readonly locked: number;
  readonly pinned: number;
}

/** What this process holds of what a driver could leak. */
export async function holdings(): Promise<Holdings> {
  // Handles that were closed are given back by the event loop a turn later.
  await sleep(50);
  const maps = readFileSync('/proc/self/maps', 'utf8').split('\n');
  const status = readFileSync('/proc/self/status', 'utf8');
  const kib = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)?.[1]);
  return {
    files: openFiles(),
    mappings: maps.filter((line) => /vfio|\/dev\/zero|rw-s/.test(line)).length,
    locked: kib('VmLck'),
    pinned: kib('VmPin'),
  };
}

function openFiles(): string[] {
  const targets: string[] = [];
  for (const descriptor of readdirSync('/proc/self/fd')) {
    try {
      targets.push(readlinkSync(`/proc/self/fd/${descriptor}`).replace(/\d+/g, 'N'));
    } catch {
      // The descriptor with which the folder was read.
    }
  }
  return targets.sort();
}
