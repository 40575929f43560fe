/** One after another: what this program does to the binding of a device. */

/** Of each device, the last step that is under way or waits; it never rejects. */
const last = new Map<string, Promise<void>>();

/**
 * Runs a step after all earlier ones on the same device have ended, whether or not those failed. Binding a device
 * while it is being given back would find it bound still, open it, and so keep the kernel from giving it back.
 *
 * @param signal - gives up waiting; the step does not run then
 * @throws what the step throws, and the reason of `signal`
 */
export async function inTurn<T>(address: string, step: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  const before = last.get(address) ?? Promise.resolve();
  const turn = before.then(() => {
    signal?.throwIfAborted();
    return step();
  });
  const done = turn.then(
    () => undefined,
    () => undefined,
  );
  last.set(address, done);
  void done.then(() => {
    if (last.get(address) === done) last.delete(address);
  });
  await unlessAborted(before, signal);
  return turn;
}

async function unlessAborted(earlier: Promise<void>, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  if (signal === undefined) return earlier;
  const settled = new AbortController();
  const aborted = new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true, signal: settled.signal });
  });
  await Promise.race([earlier, aborted]);
  settled.abort();
  signal.throwIfAborted();
}
