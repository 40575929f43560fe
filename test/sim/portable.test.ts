import { readFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const SOURCE = fileURLToPath(new URL('../../src', import.meta.url));
/** Comments and plain strings. */
const PROSE = /\/\*[\s\S]*?\*\/|\/\/.*|'[^'\n]*'/g;
const TYPES_ALONE = /import type[^;]*;/g;

/** All files that an entry point loads, and what else they import, by reading them. */
function loadedBy(entry: string): { files: Set<string>; packages: string[] } {
  const files = new Set<string>();
  const packages: string[] = [];
  const visit = (file: string): void => {
    if (files.has(file)) return;
    files.add(file);
    const text = readFileSync(file, 'utf8').replace(TYPES_ALONE, '');
    for (const [, specifier] of text.matchAll(/from '([^']+)'/g)) {
      if (specifier.startsWith('.')) visit(resolve(dirname(file), specifier.replace(/\.js$/, '.ts')));
      else packages.push(specifier);
    }
  };
  visit(resolve(SOURCE, entry));
  return { files, packages };
}

it.each([
  ['sim/index.ts', ['errors.ts', 'log.ts', 'sim', 'packet', 'transport', 'memory']],
  ['packet/index.ts', ['errors.ts', 'packet']],
])('%s runs in a browser: it loads nothing of Node.js and of the driver', (entry, allowed) => {
  const { files, packages } = loadedBy(entry);
  expect(packages).toEqual([]);
  const rooms = new Set([...files].map((file) => relative(SOURCE, file).split('/')[0]));
  expect([...rooms].filter((room) => !allowed.includes(room))).toEqual([]);
  for (const file of files) {
    const code = readFileSync(file, 'utf8').replace(PROSE, '');
    expect(code, relative(SOURCE, file)).not.toMatch(/\b(Buffer|process|require|__dirname)\b\s*[.(]/);
  }
  expect(files.size).toBeGreaterThan(5);
});
