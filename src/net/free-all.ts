/**
 * Frees all parts, whatever fails on the way.
 *
 * @throws the first failure, at the end
 */
export function freeAll(parts: Iterable<{ free(): void }>): void {
  const failures: unknown[] = [];
  for (const part of parts) {
    try {
      part.free();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}
