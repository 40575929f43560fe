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
  esbuildOptions(options) {
    // Puts constants of other modules in the place of their names. A constant of the module itself becomes a variable,
    // which V8 has to load and check each time: those that each packet meets stand in modules of their own.
    // What makes CommonJS of it stumbles over constructors that were shortened so, where their class has fields: by
    // tsconfig.json those are assigned in the constructor.
    options.minifySyntax = true;
  },
});
