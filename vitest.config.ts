import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    alias: [
      { find: /^virtio-net\/sim$/, replacement: source('./src/sim/index.ts') },
      { find: /^virtio-net\/packet$/, replacement: source('./src/packet/index.ts') },
      { find: /^virtio-net$/, replacement: source('./src/index.ts') },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 20_000,
  },
});
