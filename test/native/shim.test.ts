import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { load } from 'koffi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireSupportedPlatform } from '../../src/native/koffi.js';
import { SHIM_ABI, openShim, shim } from '../../src/native/shim.js';
import { buildShim } from './build-shim.js';
import { runFixture } from './run-fixture.js';

let folder: string;

beforeAll(() => {
  buildShim();
  folder = mkdtempSync(join(tmpdir(), 'shim-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function compile(name: string, source: string): string {
  const path = join(folder, `${name}.so`);
  writeFileSync(join(folder, `${name}.c`), source);
  execFileSync('gcc', ['-shared', '-fPIC', '-nostdlib', '-o', path, join(folder, `${name}.c`)]);
  return path;
}

describe('loading the shim', () => {
  it('loads nothing native by being imported', () => {
    const { status, stdout } = runFixture('import-only.ts');
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toEqual([]);
  });

  it('loads the packaged shim', () => {
    expect(runFixture('load-shim.ts').stdout).toMatch(/^(4096|16384|65536)\n$/);
  });

  it('refuses a shim of another version', () => {
    const path = compile('other', `unsigned vn_abi_version(void) { return ${SHIM_ABI + 1}; }`);
    expect(() => openShim(load, path)).toThrow(
      expect.objectContaining({ code: 'NATIVE_SHIM_ABI', message: expect.stringContaining(path) as string }),
    );
    expect(runFixture('load-shim.ts', [], { VIRTIO_NET_SHIM: path }).stdout).toBe('NATIVE_SHIM_ABI\n');
  });

  it('refuses a library that is no shim, and a file that is no library', () => {
    const stranger = compile('stranger', 'int hello(void) { return 1; }');
    const text = join(folder, 'text.so');
    writeFileSync(text, 'This is not a library.');
    for (const path of [stranger, text]) {
      expect(() => openShim(load, path)).toThrow(expect.objectContaining({ code: 'NATIVE_SHIM_ABI' }));
    }
  });

  it('knows Linux on x64 and arm64 only', () => {
    expect(() => requireSupportedPlatform('linux', 'x64')).not.toThrow();
    expect(() => requireSupportedPlatform('linux', 'arm64')).not.toThrow();
    const others = [
      ['linux', 'riscv64'],
      ['darwin', 'arm64'],
      ['win32', 'x64'],
    ] as const;
    for (const [platform, arch] of others) {
      expect(() => requireSupportedPlatform(platform, arch)).toThrow(
        expect.objectContaining({ code: 'NATIVE_UNSUPPORTED_PLATFORM' }),
      );
    }
  });
});

describe('the functions of the shim', () => {
  const EBADF = -9;
  const EINVAL = -22;
  const ENOTTY = -25;

  it('return the negated errno of what is no VFIO file', () => {
    const plain = shim().eventfd_create();
    const info = new Uint8Array(64);
    const results = [
      shim().vfio_api_version(plain),
      shim().vfio_check_extension(plain, 1),
      shim().vfio_set_iommu(plain, 1),
      shim().vfio_iommu_info(plain, info, 64),
      shim().vfio_map_dma(plain, 4096, 4096, 4096),
      shim().vfio_unmap_dma(plain, 4096, 4096),
      shim().vfio_group_status(plain),
      shim().vfio_group_attach(plain, plain),
      shim().vfio_group_detach(plain),
      shim().vfio_device_fd(plain, '0000:00:00.0'),
      shim().vfio_device_info(plain, info, 64),
      shim().vfio_region_info(plain, 0, info, 64),
      shim().vfio_irq_info(plain, 0, info, 64),
      shim().vfio_irq_enable(plain, 0, Int32Array.of(plain), 1),
      shim().vfio_irq_disable(plain, 0),
      shim().vfio_irq_mask(plain, 0),
      shim().vfio_irq_unmask(plain, 0),
      shim().vfio_device_reset(plain),
    ];
    expect(shim().close(plain)).toBe(0);
    expect(results).toEqual(results.map(() => ENOTTY));
    expect(shim().close(plain)).toBe(EBADF);
    expect(shim().vfio_api_version(plain)).toBe(EBADF);
  });

  it('put size and index into the info structure, and refuse a buffer that is too small', () => {
    const info = new Uint8Array(64).fill(0xff);
    shim().vfio_region_info(-1, 0x01020304, info, 64);
    expect([...new Uint32Array(info.buffer, 0, 4)]).toEqual([64, 0, 0x01020304, 0]);
    expect(shim().vfio_region_info(-1, 0, info, 31)).toBe(EINVAL);
    expect(shim().vfio_device_info(-1, info, 3)).toBe(EINVAL);
    expect(shim().vfio_irq_info(-1, 0, info, 15)).toBe(EINVAL);
    expect(shim().vfio_iommu_info(-1, info, 15)).toBe(EINVAL);
  });

  it('refuse arguments that can not be', () => {
    expect(shim().mmio_read32(0)).toBe(EINVAL);
    expect(shim().mmio_read32(4098)).toBe(EINVAL);
    expect(shim().mmio_write16(4097, 0)).toBe(EINVAL);
    expect(shim().region_read(0, 0, 3)).toBe(EINVAL);
    expect(shim().region_write(0, 0, 8, 0)).toBe(EINVAL);
    expect(shim().memory_allocate(0, 0)).toBe(EINVAL);
    expect(shim().memory_allocate(4096, 8)).toBe(EINVAL);
    expect(shim().memory_map(0, 0, 0, 1)).toBe(EINVAL);
    expect(shim().memory_unmap(0, 4096)).toBe(EINVAL);
    expect(shim().memory_retire(0, 4096)).toBe(EINVAL);
    expect(shim().vfio_irq_enable(0, 0, new Int32Array(2049), 2049)).toBe(EINVAL);
    expect(shim().vfio_irq_enable(0, 0, new Int32Array(0), 0)).toBe(EINVAL);
  });
});
