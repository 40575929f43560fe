import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** Tests that boot a virtual machine. */
const VM_TESTS = ['test/system/**/*.test.ts', 'test/**/vm.test.ts', 'test/**/*-vm.test.ts'];

export default defineConfig({
  resolve: {
    alias: [
      { find: /^virtio-net\/sim$/, replacement: source('./src/sim/index.ts') },
      { find: /^virtio-net\/packet$/, replacement: source('./src/packet/index.ts') },
      { find: /^virtio-net$/, replacement: source('./src/index.ts') },
    ],
  },
  test: {
    projects: [
      {
        extends: true,
        test: { name: 'host', include: ['test/**/*.test.ts'], exclude: VM_TESTS, testTimeout: 20_000 },
      },
      {
        extends: true,
        // One guest at a time, after everything else: an emulated machine has two processors to itself.
        test: { name: 'vm', include: VM_TESTS, maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
