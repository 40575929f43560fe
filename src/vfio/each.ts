/** Giving several things of one kind back. */

/** Does it with each item, whatever happened with those before, and throws the first failure at the end. */
export function forEachOf<T>(items: Iterable<T>, giveBack: (item: T) => void): void {
  const failures: unknown[] = [];
  for (const item of items) {
    try {
      giveBack(item);
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
