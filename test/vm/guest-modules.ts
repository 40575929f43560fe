/** Which of the kernel's modules go into the guest. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ArchiveEntry } from './cpio.js';
import { VmError } from './vm-error.js';
import type { GuestKernel } from './guest-kernel.js';

/** What `modprobe` finds in the guest; the modules that these need come with them. */
const MODULES = [
  ...['vfio_pci', 'vfio_iommu_type1', 'uio_pci_generic'],
  ...['virtio_pci', 'virtio_net', 'virtio_blk', 'virtio_console'],
  ...['vhost_net', 'tun', 'tap', 'veth', 'dummy', 'bridge', '8021q', 'macvlan', 'macvtap'],
  ...['af_packet', 'af_packet_diag', 'pktgen'],
];
const LISTS = ['modules.dep', 'modules.alias', 'modules.symbols', 'modules.builtin', 'modules.softdep'];

/** A module's name from its path; file names and module names differ in dashes. */
function moduleName(path: string): string {
  const file = path.slice(path.lastIndexOf('/') + 1);
  return file.replace(/\.ko$/, '').replaceAll('-', '_');
}

interface ModuleTable {
  /** For each module its path in the folder of the modules, then those that it needs. */
  readonly paths: ReadonlyMap<string, readonly string[]>;
  readonly builtIn: ReadonlySet<string>;
}

async function readTable(kernel: GuestKernel): Promise<ModuleTable> {
  const dependencies = await readFile(join(kernel.modules, 'modules.dep'), 'utf8');
  const builtIn = await readFile(join(kernel.modules, 'modules.builtin'), 'utf8');
  const lines = dependencies.split('\n').filter((line) => line !== '');
  return {
    paths: new Map(
      lines.map((line) => {
        const paths = line.replace(':', '').trim().split(/\s+/);
        return [moduleName(paths[0] ?? ''), paths];
      }),
    ),
    builtIn: new Set(builtIn.split('\n').map(moduleName)),
  };
}

function pathsOf(name: string, table: ModuleTable): readonly string[] {
  const paths = table.paths.get(name);
  if (paths !== undefined) return paths;
  if (table.builtIn.has(name)) return [];
  throw new VmError('VM_UNAVAILABLE', `The kernel of the guest lacks the module ${name}.`);
}

/**
 * The modules as entries of the guest's file system, with the lists that `modprobe` reads.
 *
 * @throws VmError VM_UNAVAILABLE if the kernel lacks one
 */
export async function moduleEntries(kernel: GuestKernel): Promise<Map<string, ArchiveEntry>> {
  const table = await readTable(kernel);
  const files = [...new Set(MODULES.flatMap((name) => pathsOf(name, table))), ...LISTS];
  return new Map(
    files.map((file) => [
      `/lib/modules/${kernel.release}/${file}`,
      { type: 'copy', from: join(kernel.modules, file) },
    ]),
  );
}

/** Changes whenever other modules are picked. */
export const MODULES_VERSION = MODULES.join(' ');
