/** What depends on the machine, with real devices of QEMU: with an IOMMU that devices bypass, and with none. */
import { beforeAll, expect, it } from 'vitest';
import { describeVm, VM_TEST_MILLISECONDS } from '../vm/describe-vm.js';
import { bundleProgram } from '../vm/guest-programs.js';
import { reported } from '../vm/run-guest.js';
import { runVm, type VmOptions, type VmResult } from '../vm/run-vm.js';

const PROGRAM = '/app/node_modules/virtio-net/platform-program.js';
const GATEWAY = [10, 0, 2, 2];

async function boot(
  scenarios: readonly string[],
  script: string,
  options: Partial<VmOptions>,
): Promise<VmResult> {
  const vm = await runVm({
    command: `${script}\nulimit -l unlimited\nexec node ${PROGRAM} ${scenarios.join(' ')}`,
    files: { [PROGRAM]: await bundleProgram('test/vfio/guest/platform-program.ts') },
    ...options,
  });
  expect(vm.status, vm.output).toBe(0);
  return vm;
}

const madeOf = (pages: string, iommu: boolean): unknown => ({
  answer: GATEWAY,
  memory: [{ bdf: '0000:00:10.0', addressing: 'physical', iommu, pages }],
});
const refused = (code: string, message: RegExp): unknown => ({
  code,
  message: expect.stringMatching(message) as unknown,
});

/** What holds with physical addresses, whether there is an IOMMU that the device bypasses or none. */
function expectPhysical(results: Record<string, unknown>, iommu: boolean): void {
  const lives = results.lives as Record<string, unknown>;
  expect(lives.small).toEqual(madeOf('pages', iommu));
  expect(lives.again).toEqual(Array.from({ length: 5 }, () => madeOf('pages', iommu)));
  expect(lives.missing).toEqual(refused('HUGE_PAGES_MISSING', /nr_hugepages/));
  expect(lives.after).toEqual(lives.before);
  expect(lives.forced).toEqual(madeOf('2M', iommu));
  expect(lives.never).toEqual(madeOf('pages', iommu));
  expect(lives.automatic).toMatchObject({ answer: GATEWAY });
  expect(lives.reservedAfter).toEqual(lives.reservedBefore);
  expect(results.contiguity).toEqual({
    whole: true,
    distance: 36_864,
    large: 'boolean',
    // Whether there are so many pages in a row is the guest's luck; what is given must be in a row.
    largest: expect.toSatisfy(
      (got: unknown) => got === true || (got as { code?: string }).code === 'MEMORY_NOT_CONTIGUOUS',
    ) as unknown,
    late: refused(iommu ? 'OPTION_INVALID' : 'VFIO_IOMMU_ABSENT', /allocated|No IOMMU/),
    allocated: 0,
  });
}

describeVm('a machine with an IOMMU', () => {
  let vm: VmResult;
  let results: Record<string, unknown>;

  beforeAll(async () => {
    const scenarios = ['unprivileged', 'lives', 'contiguity', 'sealed', 'twins', 'pin', 'unplugged'];
    const group = '$(basename $(readlink /sys/bus/pci/devices/0000:00:10.0/iommu_group))';
    vm = await boot(scenarios, `chown 1000:1000 /dev/vfio/${group}`, {
      nics: [
        { properties: 'iommu_platform=off' },
        { properties: 'addr=11.0,multifunction=on' },
        { properties: 'addr=11.1' },
        { properties: 'addr=12.0,vectors=0' },
        { properties: 'bus=port0', address: '0000:01:00.0' },
      ],
      extraQemuArgs: ['-device', 'pcie-root-port,id=port0,bus=pcie.0,addr=13.0,chassis=1'],
      onLine: async (line, running) => {
        if (line.includes('ready to be unplugged')) await running.qmp('device_del', { id: 'nic4' });
      },
    });
    results = reported(vm.output);
  }, VM_TEST_MILLISECONDS);

  it('gives physical addresses to a card that bypasses it, in every kind of pages', () => {
    expectPhysical(results, true);
  });

  it('refuses to give IOVAs to such a card', () => {
    expect(results.sealed).toEqual({ error: refused('DEVICE_BYPASSES_IOMMU', /iommu_platform=on/) });
  });

  it('names the capability that a user lacks for physical addresses', () => {
    expect(results.unprivileged).toEqual(refused('MEMORY_ADDRESS_UNKNOWN', /CAP_SYS_ADMIN/));
  });

  it('lets a program drive two functions of one group', () => {
    const { statuses, apart, busy, leftAgain, used, before, after } = results.twins as Record<
      string,
      unknown
    >;
    expect({ statuses, apart, leftAgain, used }).toEqual({
      statuses: [15, 15],
      apart: true,
      leftAgain: 16_384,
      used: 2,
    });
    expect(busy).toEqual(refused('VFIO_DEVICE_BUSY', /0000:00:11\.0 is in use/));
    expect(after).toEqual(before);
  });

  it('delivers the interrupt pin as often as the device asserts it', () => {
    const { before, after, ...rest } = results.pin as Record<string, unknown>;
    expect(rest).toEqual({ hasIntx: true, status: 15, seen: [1, 1, 1], late: 0, used: 4, vectors: 0 });
    expect(after).toEqual(before);
  });

  it('asks once for a card that is unplugged, and lets it go when it is closed', () => {
    const { before, after, ...rest } = results.unplugged as Record<string, unknown>;
    expect(rest).toEqual({ requests: 1, gone: true });
    expect(after).toEqual(before);
  });

  it('saw no stray DMA', () => {
    expect(vm.dmarFaults).toEqual([]);
  });
});

describeVm('a machine without an IOMMU', () => {
  let vm: VmResult;
  let results: Record<string, unknown>;

  beforeAll(async () => {
    vm = await boot(['unprivileged', 'lives', 'contiguity', 'gigantic', 'pin'], 'chmod 666 /dev/vfio/*', {
      iommu: 'noiommu',
      // A page of 1 GiB must be free of all that the kernel places at either end.
      memoryMiB: 4096,
      kernelArgs: ['hugepagesz=1G', 'hugepages=1'],
      nics: [
        { properties: 'disable-legacy=on' },
        {},
        { properties: 'addr=12.0,vectors=0,disable-legacy=on' },
      ],
    });
    results = reported(vm.output);
  }, VM_TEST_MILLISECONDS);

  it('gives physical addresses to a card, in every kind of pages', () => {
    expectPhysical(results, false);
  });

  it('makes memory of a page of 1 GiB', () => {
    expect(results.gigantic).toEqual({
      size: 2 ** 30,
      whole: true,
      aligned: true,
      second: refused('HUGE_PAGES_MISSING', /hugepages-1048576kB/),
      free: [1, 0, 1],
    });
  });

  it('names the capability that a user lacks for a card that can reach all memory', () => {
    expect(results.unprivileged).toEqual(refused('VFIO_PERMISSION_DENIED', /CAP_SYS_RAWIO/));
  });

  it('delivers the interrupt pin as often as the device asserts it', () => {
    const { before, after, ...rest } = results.pin as Record<string, unknown>;
    expect(rest).toEqual({ hasIntx: true, status: 15, seen: [1, 1, 1], late: 0, used: 4, vectors: 0 });
    expect(after).toEqual(before);
  });
});
