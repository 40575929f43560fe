/** A transport whose calls fail, as those of a device that is gone. */
import type { DmaMemory, Transport } from '../../src/index.js';
import type { SimulatedDevice } from '../../src/sim/index.js';

export interface Failing {
  readonly transport: Transport;
  /** The call that failed, or undefined if there were too few. */
  failed: string | undefined;
  closed: number;
}

/** A transport whose n-th call throws, and if it is gone for good, every one after that too, but for `close()`. */
export function failAt(sim: SimulatedDevice, n: number, forGood: boolean): Failing {
  let calls = 0;
  const step = (name: string): void => {
    calls += 1;
    if (calls < n || (calls > n && !forGood)) return;
    failing.failed ??= name;
    throw new Error('gone');
  };
  const { transport } = sim;
  const memory = new Proxy(transport.memory, { get: (target, name) => wrap(target, name, step) });
  const failing: Failing = {
    failed: undefined,
    closed: 0,
    transport: new Proxy(transport, {
      get(target, name) {
        if (name === 'memory') return memory;
        if (name !== 'close') return wrap(target, name, step);
        return () => {
          failing.closed += 1;
          return target.close();
        };
      },
    }),
  };
  return failing;
}

function wrap(target: Transport | DmaMemory, name: string | symbol, step: (name: string) => void): unknown {
  const value: unknown = Reflect.get(target, name);
  if (typeof value !== 'function') return value;
  return (...values: unknown[]): unknown => {
    step(String(name));
    return Reflect.apply(value as () => unknown, target, values);
  };
}
