/** What the benchmark runs on, and what it measures. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { findDpdkVersion } from '../../test/vm/dpdk-package.js';
import { inRepository } from '../../test/vm/paths.js';
import type { Machine, Measured } from '../result.js';

/** Folders whose files make a difference to the figures. */
const SOURCES = ['src', 'native-shim', 'bench', 'test/vm', 'tsup.config.ts', 'package-lock.json'];
/** What a run itself writes among them. */
const RESULTS = ':!bench/results.json';

export function describeMachine(): Machine {
  return {
    processor: cpus()[0]?.model.trim() ?? process.arch,
    processors: cpus().length,
    memoryGigabytes: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    system: systemName(),
    node: process.versions.node,
    v8: process.versions.v8,
  };
}

function systemName(): string {
  try {
    return /^PRETTY_NAME="?(.*?)"?$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? process.platform;
  } catch {
    return process.platform;
  }
}

/** Of the source as it stands now. */
export function describeSource(): Measured {
  const commit = git('rev-parse', '--short=12', 'HEAD');
  const changes = git('status', '--porcelain', '--', ...SOURCES, RESULTS);
  return {
    version: versionIn('package.json'),
    ...(commit === undefined ? {} : { commit }),
    changed: changes !== '',
    koffi: versionIn('node_modules/koffi/package.json'),
  };
}

/** With the peers that a section has downloaded. */
export function withPeers(measured: Measured): Measured {
  const dpdk = findDpdkVersion();
  return dpdk === undefined ? measured : { ...measured, dpdk };
}

/** What git says, without the end of the last line; undefined if it fails or is not there. */
function git(...words: string[]): string | undefined {
  const { status, stdout } = spawnSync('git', words, { cwd: inRepository(), encoding: 'utf8' });
  return status === 0 ? stdout.trimEnd() : undefined;
}

function versionIn(path: string): string {
  return (JSON.parse(readFileSync(inRepository(path), 'utf8')) as { readonly version: string }).version;
}
