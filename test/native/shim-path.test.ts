import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findShim } from '../../src/native/shim-path.js';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shim-path-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

function write(path: string, content: string): string {
  const full = join(folder, path);
  mkdirSync(join(full, '..'), { recursive: true });
  writeFileSync(full, content);
  return full;
}

describe('findShim', () => {
  it('takes the file that VIRTIO_NET_SHIM names before the packaged one', () => {
    const named = write('own.so', '');
    write('package.json', '{"name":"virtio-net"}');
    write('native-shim/prebuilt/linux-x64/virtio-net-shim.so', '');
    const from = join(folder, 'dist/index.js');
    expect(findShim({ env: { VIRTIO_NET_SHIM: named }, from, arch: 'x64' })).toBe(named);
  });

  it('refuses a VIRTIO_NET_SHIM that names nothing, rather than use another file', () => {
    write('package.json', '{"name":"virtio-net"}');
    write('native-shim/prebuilt/linux-x64/virtio-net-shim.so', '');
    const lookup = { env: { VIRTIO_NET_SHIM: '/no/such.so' }, from: join(folder, 'a.js'), arch: 'x64' };
    expect(() => findShim(lookup)).toThrow(
      expect.objectContaining({
        code: 'NATIVE_SHIM_MISSING',
        message: expect.stringContaining('/no/such.so') as string,
      }),
    );
  });

  it.each(['src/native/shim-path.ts', 'dist/index.js', 'dist/index.cjs', 'dist/chunks/deep/a.js'])(
    'finds the root of the package from %s',
    (file) => {
      write('package.json', '{"name":"virtio-net"}');
      const shim = write('native-shim/prebuilt/linux-arm64/virtio-net-shim.so', '');
      expect(findShim({ env: { VIRTIO_NET_SHIM: '' }, from: join(folder, file), arch: 'arm64' })).toBe(shim);
    },
  );

  it('passes by the package.json of others, broken ones too', () => {
    write('package.json', '{"name":"virtio-net"}');
    write('dist/package.json', '{"type":"commonjs"}');
    write('dist/cjs/package.json', '{');
    const shim = write('native-shim/prebuilt/linux-x64/virtio-net-shim.so', '');
    expect(findShim({ env: {}, from: join(folder, 'dist/cjs/index.js'), arch: 'x64' })).toBe(shim);
  });

  it('names the command that builds a missing shim', () => {
    write('package.json', '{"name":"virtio-net"}');
    const lookup = { env: {}, from: join(folder, 'dist/index.js'), arch: 'x64' };
    const remedy = `Build it with: node ${join(folder, 'native-shim/build.mjs')}`;
    expect(() => findShim(lookup)).toThrow(expect.objectContaining({ code: 'NATIVE_SHIM_MISSING', remedy }));
  });

  it('finds the package that is installed beside a bundle', () => {
    write('package.json', '{"name":"an-application"}');
    write('node_modules/virtio-net/package.json', '{"name":"virtio-net"}');
    const shim = write('node_modules/virtio-net/native-shim/prebuilt/linux-x64/virtio-net-shim.so', '');
    expect(findShim({ env: {}, from: join(folder, 'dist/bundle.js'), arch: 'x64' })).toBe(shim);
  });

  it('says so where a bundler has moved the code out of the package', () => {
    write('package.json', '{"name":"an-application"}');
    const lookup = { env: {}, from: join(folder, 'bundle.js'), arch: 'x64' };
    expect(() => findShim(lookup)).toThrow(
      expect.objectContaining({
        code: 'NATIVE_SHIM_MISSING',
        remedy: expect.stringContaining('bundle') as string,
      }),
    );
  });
});
