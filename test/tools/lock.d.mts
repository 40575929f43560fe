/** Runs `action` while no other process of this machine runs one under the same lock. */
export function withLock<Result>(path: string, action: () => Promise<Result> | Result): Promise<Result>;
