/**
 * Runs code of the program, such as an event listener, from within the driver. What it throws becomes an uncaught
 * exception, as it would from a timer, but does not disturb the driver.
 *
 * @returns what the code returns, or undefined if it threw
 */
export function guard<T>(code: () => T): T | undefined {
  try {
    return code();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
    return undefined;
  }
}
