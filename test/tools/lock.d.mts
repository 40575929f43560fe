/**
 * Runs `action` while no other process of this machine runs one under the same lock.
 *
 * @param signal - ends the waiting for the lock, with an AbortError
 */
export function withLock<Result>(
  path: string,
  action: () => Promise<Result> | Result,
  signal?: AbortSignal,
): Promise<Result>;
