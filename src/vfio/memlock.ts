/** The limit on locked memory, which counts everything that VFIO pins for a device. */
import { readFileSync } from 'node:fs';
import { MemoryError, VfioError } from '../errors.js';
import { ERRNO } from '../native/errno.js';

/** What this process may lock and has locked, in bytes. */
export interface MemlockState {
  readonly locked: number;
  /** Infinity where there is no limit, or where this process is above it (CAP_IPC_LOCK, as real root has it). */
  readonly limit: number;
}

const CAP_IPC_LOCK = 14n;

/** What /proc/self/uid_map holds outside of any user namespace. */
const EVERY_USER = /^\s*0\s+0\s+4294967295\s*$/;

/**
 * Reads the state from the texts of /proc/self/status, limits and uid_map. VFIO does not honour a capability that
 * holds in a user namespace only, such as that of root in a rootless container.
 */
export function parseMemlock(status: string, limits: string, uidMap: string): MemlockState {
  const lockedKib = Number(/^VmLck:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
  const effective = BigInt(`0x${/^CapEff:\s+([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  const soft = /^Max locked memory\s+(\d+|unlimited)/m.exec(limits)?.[1] ?? 'unlimited';
  const privileged = ((effective >> CAP_IPC_LOCK) & 1n) === 1n && EVERY_USER.test(uidMap);
  const unlimited = soft === 'unlimited' || privileged;
  return { locked: lockedKib * 1024, limit: unlimited ? Infinity : Number(soft) };
}

export function readMemlock(): MemlockState {
  const read = (name: string): string => readFileSync(`/proc/self/${name}`, 'utf8');
  return parseMemlock(read('status'), read('limits'), read('uid_map'));
}

/** The error for `size` bytes that the kernel had no memory to pin: the limit, or memory itself. */
export function pinningError(
  size: number,
  state = readMemlock(),
  syscall = 'VFIO_IOMMU_MAP_DMA',
): VfioError | MemoryError {
  const details = { syscall, errno: ERRNO.ENOMEM };
  const needed = state.locked + size;
  if (needed <= state.limit) {
    return new MemoryError(
      'MEMORY_EXHAUSTED',
      `The system could not pin ${size} bytes for the device`,
      details,
    );
  }
  const kib = Math.ceil(needed / 1024);
  return new VfioError(
    'VFIO_MEMLOCK_TOO_LOW',
    `The device needs ${size} bytes more of locked memory; ${state.locked} are locked, and RLIMIT_MEMLOCK is ` +
      `${state.limit}`,
    {
      ...details,
      remedy:
        `Raise the limit to ${needed} bytes or more: ulimit -l ${kib} (as root, or in limits.conf: memlock ` +
        `${kib}), or LimitMEMLOCK=${needed} in a systemd unit.`,
    },
  );
}
