/** Where programs are, and what Debian calls the packages that they come in. */
import { accessSync, constants } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';

// Tools of the system administrator are not on everybody's PATH.
export const SEARCH_PATH = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export function findProgram(name) {
  const paths = isAbsolute(name) ? [name] : SEARCH_PATH.map((directory) => join(directory, name));
  return paths.find(isExecutable);
}

export const VM_PROGRAMS = {
  'qemu-system-x86_64': 'qemu-system-x86',
  busybox: 'busybox-static',
  depmod: 'kmod',
  ldd: 'libc-bin',
  setpriv: 'util-linux',
  // To build modules of the guest's kernel.
  gcc: 'gcc',
  make: 'make',
  unshare: 'util-linux',
  ip: 'iproute2',
};
