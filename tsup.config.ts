import { defineConfig } from 'tsup';

export default defineConfig({
  entry: {
    index: 'src/index.ts',
    sim: 'src/sim/index.ts',
    packet: 'src/packet/index.ts',
  },
  format: ['esm', 'cjs'],
  // One copy of every class, whichever entry point a program imports.
  splitting: true,
  dts: true,
  sourcemap: false,
  clean: true,
  shims: true,
  platform: 'node',
  target: 'node20.19',
});
