// Builds the native shim into prebuilt/linux-<arch>/. Plain Node, no dependencies.
//
//   node native-shim/build.mjs          for this machine
//   node native-shim/build.mjs --all    for x64 and arm64, with a cross compiler for the other one
//
// CC names another compiler for this machine's architecture.
import { spawnSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));
const SOURCES = ['fd.c', 'memory.c', 'pin.c', 'access.c', 'vfio.c', 'socket.c', 'node-api.c', 'poll.c'];
const CROSS = {
  x64: { compiler: 'x86_64-linux-gnu-gcc', install: 'apt-get install gcc-x86-64-linux-gnu' },
  arm64: {
    compiler: 'aarch64-linux-gnu-gcc',
    install: 'apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross',
  },
};
const NATIVE = { compiler: process.env.CC || 'gcc', install: 'apt-get install gcc libc6-dev linux-libc-dev' };

// -nostdlib leaves the symbols of libc undefined and without a version, so that one file loads under glibc
// and musl; the two -no- and -U flags keep out helpers that only one of them has. -z nodelete because
// koffi closes libraries at exit, when another thread may still be inside.
const FLAGS = [
  ...[
    '-std=c11',
    '-O2',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-fvisibility=hidden',
    '-shared',
    '-fPIC',
    '-nostdlib',
  ],
  ...['-fno-stack-protector', '-U_FORTIFY_SOURCE', '-g0'],
  ...['-Wl,-z,nodelete', '-Wl,-z,noexecstack', '-Wl,-z,relro', '-Wl,-z,now', '-Wl,--build-id=none'],
  ...['-Wl,--hash-style=gnu', `-Wl,--version-script=${join(HERE, 'virtio-net-shim.map')}`],
];

class BuildError extends Error {}

/** Compiles to a file beside the target and renames it, so that a running program never loads half a file. */
function build(arch) {
  const { compiler, install } = arch === process.arch ? NATIVE : CROSS[arch];
  const target = join(HERE, 'prebuilt', `linux-${arch}`, 'virtio-net-shim.so');
  const draft = `${target}.${process.pid}`;
  mkdirSync(dirname(target), { recursive: true });
  try {
    // CC may hold arguments too, as in make: CC="ccache gcc".
    const [command, ...words] = compiler.split(/\s+/).filter(Boolean);
    const args = [...words, ...FLAGS, '-o', draft, ...SOURCES.map((name) => join(HERE, name))];
    const run = spawnSync(command, args, { stdio: ['ignore', 'inherit', 'inherit'] });
    if (run.error?.code === 'ENOENT') {
      throw new BuildError(
        `No C compiler for ${arch}: ${command} was not found; install it with: ${install}`,
      );
    }
    if (run.error) throw new BuildError(`${command} could not be started: ${run.error.message}`);
    if (run.status !== 0) throw new BuildError(`${command} failed for ${arch}; its messages are above.`);
    renameSync(draft, target);
  } finally {
    rmSync(draft, { force: true });
  }
  console.log(target);
}

function main(args) {
  const unknown = args.find((arg) => arg !== '--all');
  if (unknown !== undefined) throw new BuildError(`Unknown option ${unknown}; the only one is --all.`);
  if (!(process.arch in CROSS))
    throw new BuildError(`The shim is for x64 and arm64, not for ${process.arch}.`);
  if (process.platform !== 'linux')
    throw new BuildError(`The shim is for Linux, not for ${process.platform}.`);
  for (const arch of args.includes('--all') ? Object.keys(CROSS) : [process.arch]) build(arch);
}

try {
  main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
