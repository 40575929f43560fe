/** VFIO as it is: real devices of QEMU in a guest with an IOMMU. */
import { expect, it, beforeAll } from 'vitest';
import { describeVm, VM_TEST_MILLISECONDS } from '../vm/describe-vm.js';
import { bundleProgram } from '../vm/guest-programs.js';
import { runVm, type VmResult } from '../vm/run-vm.js';

const SCENARIOS = [
  'lifecycle',
  'reset',
  'memory',
  'busy',
  'unviable',
  'unbound',
  'permission',
  'memlock',
  'killed',
  'terminated',
  'interruptsOff',
  'rounds',
];

/** Inside of the package, where the shim is found as the library itself finds it. */
const PROGRAM = '/app/node_modules/virtio-net/vfio-program.js';

interface Failed {
  readonly code: string;
  readonly message: string;
  readonly errno?: number;
}

describeVm('VFIO in a guest', () => {
  let vm: VmResult;
  let results: Record<string, Record<string, unknown>>;

  beforeAll(async () => {
    vm = await runVm({
      command: ['node', PROGRAM, ...SCENARIOS],
      files: { [PROGRAM]: await bundleProgram('test/vfio/guest/vfio-program.ts') },
      nics: [
        {},
        { properties: 'addr=11.0,multifunction=on' },
        { properties: 'addr=11.1', bind: false },
        { properties: 'addr=12.0', bind: 'none' },
        { properties: 'bus=port0', address: '0000:01:00.0' },
      ],
      extraQemuArgs: ['-device', 'pcie-root-port,id=port0,bus=pcie.0,addr=13.0,chassis=1'],
    });
    expect(vm.status, vm.output).toBe(0);
    results = JSON.parse(vm.output) as typeof results;
  }, VM_TEST_MILLISECONDS);

  it('opens, enables and disables a card', () => {
    expect(results.lifecycle).toMatchObject({
      identity: 0x1041_1af4,
      sizes: [0, 4096, 0, 0, 16384, 0],
      vectors: 4,
      command: 7,
      features: 3,
      // QEMU gives a function-level reset only to cards behind an Express port.
      wasReset: false,
      commandAfterReset: 7,
      disabled: 3,
      during: { shared: 1, bars: 2 },
    });
    expect([256, 4096]).toContain(results.lifecycle.configSize);
  });

  it('resets a card that can be reset, and goes on with it', () => {
    const expected = { configSize: 4096, before: 15, done: true, status: 0, command: 7, again: 15 };
    expect(results.reset).toEqual(expected);
  });

  it('answers an access to a BAR that is not decoded with an error, not a signal', () => {
    expect(results.lifecycle.undecoded).toMatchObject({ code: 'VFIO_CALL_FAILED', errno: 5 });
  });

  it('gives addresses below 4 GiB, never 0', () => {
    const { lo, hi } = results.lifecycle.address as { lo: number; hi: number };
    expect(hi).toBe(0);
    expect(lo % 4096).toBe(100);
    expect(lo).toBeGreaterThan(4096);
  });

  it('answers every use after close with an error', () => {
    expect(results.lifecycle.afterClose).toEqual({
      bar: expect.objectContaining({ code: 'DEVICE_CLOSED' }) as unknown,
      config: expect.objectContaining({ code: 'DEVICE_CLOSED' }) as unknown,
      allocate: expect.objectContaining({ code: 'DEVICE_CLOSED' }) as unknown,
      enableMsix: expect.objectContaining({ code: 'DEVICE_CLOSED' }) as unknown,
      address: expect.stringContaining('RangeError') as unknown,
      length: 0,
      allocated: 0,
    });
  });

  it('counts memory to the byte, as the kernel does, and gives all of it back', () => {
    const { bytes, locked, allocated, left, huge, lengths, lockedAfter } = results.memory;
    expect([locked, allocated]).toEqual([bytes, bytes]);
    expect(left).toBeLessThan(bytes as number);
    expect(huge).toMatchObject({ code: 'IOVA_EXHAUSTED' });
    expect({ lengths, lockedAfter }).toEqual({ lengths: [0], lockedAfter: 0 });
  });

  it('carries frames by DMA and MSI-X, 200 lives in a row, without a leak', () => {
    const { first, failures, before, after } = results.rounds;
    expect(first).toEqual({ status: 15, used: 1, interrupts: [0, 1], allocated: 8192 });
    expect(failures).toEqual([]);
    expect(after).toEqual(before);
    expect(vm.dmarFaults).toEqual([]);
  });

  it('calls no handler after interrupts are off', () => {
    expect(results.interruptsOff).toMatchObject({
      late: 0,
      some: true,
      tooMany: expect.stringContaining('RangeError') as unknown,
    });
  });

  it('says that the card is in use, in this process and in another', () => {
    const { inside, outside, before, after, then } = results.busy;
    for (const error of [inside, outside] as Failed[]) {
      expect(error.code).toBe('VFIO_DEVICE_BUSY');
      expect(error.message).toMatch(/fuser -v \/dev\/vfio\/\d+/);
    }
    expect(after).toEqual(before);
    expect(then).toBeUndefined();
  });

  it('names who makes a group not viable', () => {
    const { error, before, after } = results.unviable as { error: Failed; before: object; after: object };
    expect(error.code).toBe('VFIO_GROUP_NOT_VIABLE');
    expect(error.message).toContain('0000:00:11.1 (virtio-pci)');
    expect(after).toEqual(before);
  });

  it('says that a card must be bound to vfio-pci', () => {
    const { error, before, after } = results.unbound as { error: Failed; before: object; after: object };
    expect(error.message).toContain('Bind 0000:00:12.0 to vfio-pci');
    expect(after).toEqual(before);
  });

  it('tells a user without the right how to get it', () => {
    const error = results.permission as unknown as Failed;
    expect(error).toMatchObject({ code: 'VFIO_PERMISSION_DENIED', errno: 13 });
    expect(error.message).toMatch(/chown \S+ \/dev\/vfio\/\d+/);
  });

  it('says how far the limit on locked memory has to be raised', () => {
    const { error, before, after, again } = results.memlock as Record<string, unknown> & { error: Failed };
    expect(error).toMatchObject({ code: 'VFIO_MEMLOCK_TOO_LOW', errno: 12 });
    expect(error.message).toContain('61440 are locked, and RLIMIT_MEMLOCK is 65536');
    expect(error.message).toContain('ulimit -l 68');
    expect(after).toEqual(before);
    expect(again).toBe(61440);
  });

  it('opens a card whose user was killed', () => {
    expect(results.killed).toMatchObject({ death: { stdout: '' }, result: { status: 15, used: 1 } });
  });

  it('opens a card in a process of which a worker was terminated with the card open', () => {
    expect(results.terminated).toMatchObject({
      during: { code: 'VFIO_DEVICE_BUSY' },
      result: { status: 15, used: 1 },
    });
  });
});
