/** The part of the guest's file system that hardly ever changes: Node, busybox, the kernel's modules. */
import { realpath } from 'node:fs/promises';
import { findProgram } from '../tools/programs.mjs';
import { cached, digest, fingerprint } from './cache.js';
import { writeArchive, type ArchiveEntry } from './cpio.js';
import type { GuestKernel } from './guest-kernel.js';
import { moduleEntries, MODULES_VERSION } from './guest-modules.js';
import type { Preparation } from './progress.js';
import { capture } from './subprocess.js';
import { VmError } from './vm-error.js';

/** To be counted up when what the archive is made of changes. */
const LAYOUT_VERSION = '1';

const ACCOUNTS: [string, string][] = [
  ['/etc/passwd', 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n'],
  ['/etc/group', 'root:x:0:\nuser:x:1000:\n'],
  ['/etc/shadow', 'root::20000:0:99999:7:::\nuser::20000:0:99999:7:::\n'],
  ['/etc/hosts', '127.0.0.1 localhost guest\n::1 localhost\n'],
  ['/etc/nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\n'],
  ['/etc/resolv.conf', 'nameserver 10.0.2.3\n'],
  ['/etc/os-release', 'NAME="virtio-net test guest"\nID=guest\n'],
];

const DIRECTORIES: [string, number][] = [
  ['/proc', 0o555],
  ['/sys', 0o555],
  ['/dev', 0o755],
  ['/root', 0o700],
  ['/run', 0o755],
  ['/mnt', 0o755],
  ['/tmp', 0o1777],
  ['/var/tmp', 0o1777],
];

async function requireProgram(name: string): Promise<string> {
  const path = findProgram(name);
  if (path === undefined) throw new VmError('VM_UNAVAILABLE', `The test VM needs ${name}.`);
  return realpath(path);
}

/** The libraries that a program loads, at the paths where its loader looks for them. */
async function libraryEntries(program: string): Promise<[string, ArchiveEntry][]> {
  // ldd fails on a program that is linked statically, which then has none.
  const list = await capture('VM_UNAVAILABLE', 'ldd', [program]).catch(() => '');
  const paths = [...list.matchAll(/(?:=> |^\s*)(\/\S+) \(0x/gm)].map((match) => match[1]);
  return paths.map((path) => [path, { type: 'copy', from: path, mode: 0o755 }]);
}

async function busyboxEntries(): Promise<[string, ArchiveEntry][]> {
  const busybox = await requireProgram('busybox');
  const applets = (await capture('VM_UNAVAILABLE', busybox, ['--list'])).split('\n');
  const links = applets.filter((name) => name !== '' && name !== 'busybox');
  return [
    ...(await libraryEntries(busybox)),
    ['/bin/busybox', { type: 'copy', from: busybox, mode: 0o755 }],
    // Programs that start with #!/usr/bin/env look for it there.
    ['/usr/bin/env', { type: 'symlink', target: '/bin/busybox' }],
    // The kernel itself calls it there.
    ['/sbin/modprobe', { type: 'symlink', target: '/bin/busybox' }],
    ...links.map((name): [string, ArchiveEntry] => [
      `/bin/${name}`,
      { type: 'symlink', target: '/bin/busybox' },
    ]),
  ];
}

async function nodeEntries(): Promise<[string, ArchiveEntry][]> {
  const node = await realpath(process.execPath);
  return [
    ...(await libraryEntries(node)),
    // At its own path, since it may look for libraries relative to it.
    [node, { type: 'copy', from: node, mode: 0o755 }],
    ...(node === '/bin/node'
      ? []
      : [['/bin/node', { type: 'symlink', target: node }] as [string, ArchiveEntry]]),
  ];
}

async function baseEntries(kernel: GuestKernel): Promise<Map<string, ArchiveEntry>> {
  return new Map<string, ArchiveEntry>([
    ...DIRECTORIES.map(([path, mode]): [string, ArchiveEntry] => [path, { type: 'directory', mode }]),
    ...ACCOUNTS.map(([path, contents]): [string, ArchiveEntry] => [path, { type: 'file', contents }]),
    // The kernel opens it for init before anything is mounted.
    ['/dev/console', { type: 'character', major: 5, minor: 1 }],
    ...(await busyboxEntries()),
    ...(await nodeEntries()),
    ...(await moduleEntries(kernel)),
  ]);
}

/** The path of the archive; made where the kernel, Node or busybox are other ones than before. */
export async function provideBase(kernel: GuestKernel, preparation: Preparation): Promise<string> {
  const key = digest([
    LAYOUT_VERSION,
    kernel.release,
    MODULES_VERSION,
    await fingerprint(await realpath(process.execPath)),
    await fingerprint(await requireProgram('busybox')),
  ]);
  const make = async (path: string): Promise<void> => {
    preparation.onProgress('Packing Node and the kernel modules for the guest');
    await writeArchive(path, await baseEntries(kernel));
  };
  return cached(`base-${key}.cpio`, make, preparation.signal);
}
