/** Running something later, in Node.js and in a browser. */

/** Runs the function on the event loop, as soon as what runs now has returned. */
export function soon(run: () => void): void {
  if (typeof setImmediate === 'function') setImmediate(run);
  else setTimeout(run, 0);
}

/** Runs the function after some milliseconds, without keeping a process alive for it. */
export function later(milliseconds: number, run: () => void): void {
  const timer: unknown = setTimeout(run, milliseconds);
  // In a browser a timer is a number, and there is no process to keep alive.
  if (isUnrefable(timer)) timer.unref();
}

function isUnrefable(timer: unknown): timer is { unref(): unknown } {
  return typeof timer === 'object' && timer !== null && 'unref' in timer && typeof timer.unref === 'function';
}
