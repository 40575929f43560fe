/** The interrupt pin and the request for a device: eventfds are real, the kernel's part is a model. */
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { SILENT } from '../../src/log.js';
import { shim } from '../../src/native/shim.js';
import { INTX_IRQ, REQUEST_IRQ } from '../../src/vfio/constants.js';
import { IntxInterrupt } from '../../src/vfio/intx.js';
import { RemovalRequest } from '../../src/vfio/removal-request.js';
import { buildShim } from '../native/build-shim.js';
import { openFileCount } from '../native/process-state.js';

const DEVICE = 1000;
const EVENTFD = 1;
const EINVAL = 22;
const EIO = 5;

/** The eventfds that are routed, by the kind of interrupt. */
const routed = new Map<number, number>();
let unmasked = 0;
let counts = new Map([
  [INTX_IRQ, 1],
  [REQUEST_IRQ, 1],
]);

beforeAll(buildShim);
beforeEach(() => {
  routed.clear();
  unmasked = 0;
  counts = new Map([
    [INTX_IRQ, 1],
    [REQUEST_IRQ, 1],
  ]);
  vi.spyOn(shim(), 'vfio_irq_info').mockImplementation((_device, index, info) => {
    new Uint32Array(info.buffer, info.byteOffset, 4).set([16, EVENTFD, index, counts.get(index) ?? 0]);
    return 16;
  });
  vi.spyOn(shim(), 'vfio_irq_enable').mockImplementation((_device, index, fds) => {
    routed.set(index, fds[0]);
    return 0;
  });
  vi.spyOn(shim(), 'vfio_irq_disable').mockImplementation((_device, index) => {
    routed.delete(index);
    return 0;
  });
  vi.spyOn(shim(), 'vfio_irq_unmask').mockImplementation(() => {
    unmasked += 1;
    return 0;
  });
});
afterEach(() => vi.restoreAllMocks());

/** The device interrupts, and the event loop has a turn or two. */
async function raise(kind: number): Promise<void> {
  shim().eventfd_signal(routed.get(kind) ?? -1);
  for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
}

describe('the interrupt pin', () => {
  it('is unmasked when the handler has returned', async () => {
    const intx = new IntxInterrupt(DEVICE, SILENT);
    const seen: number[] = [];
    intx.enable(() => seen.push(unmasked));
    await raise(INTX_IRQ);
    await raise(INTX_IRQ);
    expect([seen, unmasked]).toEqual([[0, 1], 2]);
    intx.disable();
    intx.disable();
  });

  it('stays masked where the handler has turned it off', async () => {
    const before = openFileCount();
    const intx = new IntxInterrupt(DEVICE, SILENT);
    intx.enable(() => intx.disable());
    await raise(INTX_IRQ);
    expect([unmasked, routed.size, openFileCount()]).toEqual([0, 0, before]);
  });

  it('ends no program where the kernel does not unmask it', async () => {
    vi.spyOn(shim(), 'vfio_irq_unmask').mockReturnValue(-EIO);
    const errors = vi.fn();
    const uncaught = vi.fn();
    process.once('uncaughtException', uncaught);
    const intx = new IntxInterrupt(DEVICE, { ...SILENT, error: errors });
    let calls = 0;
    intx.enable(() => (calls += 1));
    await raise(INTX_IRQ);
    process.off('uncaughtException', uncaught);
    expect(uncaught).not.toHaveBeenCalled();
    expect([calls, errors.mock.calls.length]).toEqual([1, 1]);
    intx.disable();
  });

  it('is refused where there is none, and leaves nothing behind where the kernel refuses it', () => {
    const before = openFileCount();
    const intx = new IntxInterrupt(DEVICE, SILENT);
    vi.spyOn(shim(), 'vfio_irq_enable').mockReturnValue(-EINVAL);
    expect(() => intx.enable(() => undefined)).toThrow(expect.objectContaining({ code: 'VFIO_CALL_FAILED' }));
    expect(openFileCount()).toBe(before);
    counts.set(INTX_IRQ, 0);
    const none = new IntxInterrupt(DEVICE, SILENT);
    expect(none.exists).toBe(false);
    expect(() => none.enable(() => undefined)).toThrow(RangeError);
  });
});

describe('the request for a device', () => {
  it('is told of once, however often the kernel asks', async () => {
    const before = openFileCount();
    const removal = new RemovalRequest(DEVICE);
    let requests = 0;
    removal.listen(() => (requests += 1));
    await raise(REQUEST_IRQ);
    await raise(REQUEST_IRQ);
    expect(requests).toBe(1);
    removal.close();
    removal.close();
    expect([routed.size, openFileCount()]).toEqual([0, before]);
  });

  it('is told to the last handler, and to none that was taken away', async () => {
    const removal = new RemovalRequest(DEVICE);
    const told: string[] = [];
    removal.listen(() => told.push('first'));
    removal.listen(() => told.push('second'));
    await raise(REQUEST_IRQ);
    expect(told).toEqual(['second']);
    removal.listen(undefined);
    expect(routed.size).toBe(0);
  });

  it('never comes from a kernel that can not ask', () => {
    counts.set(REQUEST_IRQ, 0);
    const before = openFileCount();
    const removal = new RemovalRequest(DEVICE);
    removal.listen(() => undefined);
    expect([routed.size, openFileCount()]).toEqual([0, before]);
    removal.close();
  });
});
