/**
 * Giving back cards that share an IOMMU group. The kernel lets its drivers have no function of a group while VFIO has
 * another one of it open (some kernels come to a halt over it), so that a card waits for those that it shares with.
 */
import type { Logger } from '../log.js';
import type { VfioBinding } from '../pci/bind.js';

interface SharedGroup {
  /** How many of its functions this thread has open. */
  open: number;
  /** The bindings of those that were closed. */
  readonly closed: VfioBinding[];
}

const groups = new Map<string, SharedGroup>();

/**
 * Notes that a function of a group is going to be opened.
 *
 * @param group - names the group
 * @returns to be called once, when the function is closed: gives it back, with all that waited for it; or, while others
 *   of the group are open, leaves that to the last of them
 */
export function enterGroup(group: string, binding: VfioBinding, log: Logger): () => Promise<void> {
  const shared = groups.get(group) ?? { open: 0, closed: [] };
  groups.set(group, shared);
  shared.open += 1;
  return async () => {
    shared.open -= 1;
    shared.closed.push(binding);
    if (shared.open > 0) {
      log.info(
        { bdf: binding.address },
        'waits to be given back: another function of its IOMMU group is open',
      );
      return;
    }
    groups.delete(group);
    await restoreAll(shared.closed);
  };
}

/** Gives all back, whatever fails, and throws the first failure at the end. */
async function restoreAll(bindings: readonly VfioBinding[]): Promise<void> {
  const results = await Promise.allSettled(bindings.map((binding) => binding.restore()));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
