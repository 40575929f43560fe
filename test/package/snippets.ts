/** The programs that README.md shows. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CodeBlock } from './readme.js';

/** The kind of the block that needs a vhost-user backend, and is run with one. */
export const VHOST_USER = 'vhost-user';

/**
 * All programs as they are to be run, but for those that need another process. Blocks of the kind `fragment` go on from the one of the kind `setup`;
 * their device is closed at the end.
 */
export function programs(blocks: readonly CodeBlock[]): CodeBlock[] {
  const code = blocks.filter(({ language, kind }) => language === 'js' && kind !== VHOST_USER);
  const setup = code.find(({ kind }) => kind === 'setup');
  return code.filter((block) => block !== setup).map((block) => withSetup(block, setup?.code ?? ''));
}

function withSetup(block: CodeBlock, setup: string): CodeBlock {
  if (block.kind === '') return block;
  // A block of its own, so that it may use names of the set-up for other things.
  return { ...block, code: `${setup}{\n${block.code}}\nawait device.close();\n` };
}

/** Writes a program into a folder and returns the path of the file. */
export async function writeProgram({ code, line }: CodeBlock, folder: string): Promise<string> {
  const extension = code.includes('require(') ? 'cjs' : 'mjs';
  const path = join(folder, `readme-${line}.${extension}`);
  await writeFile(path, code);
  return path;
}
