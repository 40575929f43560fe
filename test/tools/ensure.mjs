/**
 * Makes sure that what a command needs is there: `node test/tools/ensure.mjs deps build shim vm`.
 *
 * It runs before anything is installed, so it is plain JavaScript without dependencies. It says nothing where
 * nothing has to be done, and what it says goes to standard error.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withLock } from './lock.mjs';
import { findProgram, VM_PROGRAMS } from './programs.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const LOCK = join(ROOT, '.cache', 'ensure.lock');
const SHIM = 'virtio-net-shim.so';

class EnsureError extends Error {}

const at = (...parts) => join(ROOT, ...parts);
const say = (text) => process.stderr.write(`${text}\n`);

const isMissing = (program) => findProgram(program) === undefined;

/** Standard output belongs to the command that comes after: all that is said here goes to standard error. */
function run(program, args, environment = {}) {
  const result = spawnSync(program, args, {
    cwd: ROOT,
    stdio: ['ignore', 2, 2],
    env: { ...process.env, ...environment },
  });
  if (result.error) throw new EnsureError(`${program} could not be started: ${result.error.message}`);
  if (result.status !== 0) {
    throw new EnsureError(`${[program, ...args].join(' ')} failed (${result.signal ?? result.status}).`);
  }
}

/** The newest modification time in a tree; that of a directory tells that a file in it was removed. */
function newest(path, ignored = []) {
  const stats = statSync(path);
  if (!stats.isDirectory()) return stats.mtimeMs;
  const times = readdirSync(path)
    .filter((name) => !ignored.includes(name))
    .map((name) => newest(join(path, name), ignored));
  // A build makes its own directory in there, which says nothing about the sources.
  return Math.max(0, ...(ignored.length > 0 ? [] : [stats.mtimeMs]), ...times);
}

/** The oldest modification time of some files, 0 if one of them is missing. */
function oldest(paths) {
  return Math.min(...paths.map((path) => (existsSync(path) ? statSync(path).mtimeMs : 0)));
}

function readJson(path) {
  return JSON.parse(readFileSync(path, 'utf8'));
}

// ---- deps ----

function isInstalled(expected, installed) {
  if (installed === undefined) return expected.optional === true;
  return installed.version === expected.version && installed.integrity === expected.integrity;
}

/** What npm says that it installed; nothing where an installation was broken off. */
function readInstalled() {
  try {
    return readJson(at('node_modules', '.package-lock.json')).packages ?? {};
  } catch (error) {
    if (error.code === 'ENOENT' || error instanceof SyntaxError) return {};
    throw error;
  }
}

function dependenciesMatch() {
  const installed = readInstalled();
  const { packages: expected } = readJson(at('package-lock.json'));
  return Object.entries(expected)
    .filter(([path]) => path !== '')
    .every(
      ([path, entry]) => isInstalled(entry, installed[path]) && (entry.optional || existsSync(at(path))),
    );
}

function installDependencies() {
  say('Installing the dependencies (npm ci) ...');
  // Other package managers set this variable too.
  const npm = process.env.npm_execpath ?? '';
  // Whatever NODE_ENV and the user's settings leave out: to build and test needs all.
  const args = ['ci', '--no-audit', '--no-fund', '--include=dev', '--include=optional'];
  if (basename(npm) === 'npm-cli.js') run(process.execPath, [npm, ...args]);
  else run('npm', args);
}

// ---- build ----

function exportedFiles(entry) {
  return typeof entry === 'string' ? [entry] : Object.values(entry).flatMap(exportedFiles);
}

function isBuilt() {
  const { exports, bin = {} } = readJson(at('package.json'));
  const results = [...exportedFiles(exports), ...exportedFiles(bin)].filter((path) => path.includes('dist/'));
  const sources = ['src', 'tsup.config.ts', 'tsconfig.json'].map((path) => newest(at(path)));
  return oldest(results.map((path) => at(path))) >= Math.max(...sources);
}

function build() {
  say('Building the package (tsup) ...');
  run(process.execPath, [at('node_modules', 'tsup', 'dist', 'cli-default.js'), '--silent']);
}

// ---- packages of the system ----

const isRoot = () => process.getuid?.() === 0;

/** Installs packages of the distribution as root; anybody else is told the line that does it. */
function installPackages(what, packages) {
  if (isMissing('apt-get')) {
    throw new EnsureError(
      `${what}. Install what Debian calls ${packages.join(', ')} with the package manager of this system.`,
    );
  }
  if (!isRoot()) {
    const command = `apt-get update && apt-get install -y ${packages.join(' ')}`;
    throw new EnsureError(`${what}. Run as root: ${command}`);
  }
  say(`${what}: installing ${packages.join(', ')} ...`);
  const environment = { DEBIAN_FRONTEND: 'noninteractive' };
  run('apt-get', ['update', '-qq'], environment);
  run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...packages], environment);
}

// ---- shim ----

function shimSourcesTime() {
  return newest(at('native-shim'), ['prebuilt', 'test']);
}

const isShimBuilt = (arch) =>
  oldest([at('native-shim', 'prebuilt', `linux-${arch}`, SHIM)]) >= shimSourcesTime();

function requireCompiler() {
  // As native-shim/build.mjs: CC may hold arguments too.
  const [compiler] = (process.env.CC || 'gcc').trim().split(/\s+/);
  if (findProgram(compiler) !== undefined) return;
  if (compiler !== 'gcc') throw new EnsureError(`There is no ${compiler}, which CC names as the C compiler.`);
  installPackages('The native shim needs a C compiler', ['gcc', 'libc6-dev']);
}

const CROSS_COMPILERS = {
  x64: { program: 'aarch64-linux-gnu-gcc', packages: ['gcc-aarch64-linux-gnu', 'libc6-dev-arm64-cross'] },
  arm64: { program: 'x86_64-linux-gnu-gcc', packages: ['gcc-x86-64-linux-gnu', 'libc6-dev-amd64-cross'] },
};

function requireCrossCompiler() {
  const cross = CROSS_COMPILERS[process.arch];
  if (cross === undefined) throw new EnsureError(`The native shim is not built on ${process.arch}.`);
  if (findProgram(cross.program) !== undefined) return;
  installPackages('The native shim for the other architecture needs a cross compiler', cross.packages);
}

function buildShim(...args) {
  requireCompiler();
  if (args.includes('--all')) requireCrossCompiler();
  say('Building the native shim ...');
  run(process.execPath, [at('native-shim', 'build.mjs'), ...args]);
}

// ---- vm ----

const missingForVm = () => Object.keys(VM_PROGRAMS).filter(isMissing);

function installForVm() {
  const missing = missingForVm();
  installPackages(
    `The test VM needs ${missing.join(', ')}`,
    missing.map((program) => VM_PROGRAMS[program]),
  );
}

/** What is built is built again where a source was saved meanwhile. */
const SOURCE_ATTEMPTS = 3;

/** Each thing by its name: whether it is there, and how it gets there. */
const THINGS = {
  deps: { isThere: dependenciesMatch, provide: installDependencies },
  build: { isThere: isBuilt, provide: build, attempts: SOURCE_ATTEMPTS },
  shim: {
    isThere: () => isShimBuilt(process.arch),
    provide: () => buildShim(),
    attempts: SOURCE_ATTEMPTS,
  },
  'shim-all': {
    isThere: () => isShimBuilt('x64') && isShimBuilt('arm64'),
    provide: () => buildShim('--all'),
    attempts: SOURCE_ATTEMPTS,
  },
  vm: { isThere: () => missingForVm().length === 0, provide: installForVm },
  git: {
    isThere: () => !isMissing('git'),
    provide: () => installPackages('Tests of the package need git', ['git']),
  },
};

async function ensure(name) {
  const thing = THINGS[name];
  if (thing.isThere()) return;
  await withLock(LOCK, () => {
    // Whoever held the lock may have done it meanwhile.
    for (let left = thing.attempts ?? 1; left > 0 && !thing.isThere(); left -= 1) thing.provide();
    if (!thing.isThere()) throw new EnsureError(`"${name}" is still not as it should be after its set-up.`);
  });
}

async function main(names) {
  const known = Object.keys(THINGS);
  const unknown = names.find((name) => !known.includes(name));
  if (names.length === 0 || unknown !== undefined) {
    say(`Usage: node test/tools/ensure.mjs THING...   (things: ${known.join(', ')})`);
    return 2;
  }
  for (const name of names) await ensure(name);
  return 0;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  // A system call that fails (a folder that may not be written to) is not a mistake of this program either.
  if (!(error instanceof EnsureError) && error.syscall === undefined) throw error;
  say(error.message);
  process.exitCode = 1;
}
