/** The two ways in which binding a device acts upon the kernel. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { writeAttribute } from './attributes.js';

/** What binding asks of the kernel; a test puts a model of the kernel here. */
export interface KernelControls {
  /** Writes a sysfs attribute with one write call. */
  writeAttribute(path: string, value: string): Promise<void>;
  /** Loads a module; rejects with what modprobe said. */
  loadModule(name: string): Promise<void>;
}

const run = promisify(execFile);
const MODPROBE_TIMEOUT = 30_000;

/** The kernel that runs this program. */
export const LINUX_KERNEL: KernelControls = {
  writeAttribute,
  async loadModule(name) {
    // The PATH of a plain user often leaves out the folders that modprobe is in.
    const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin` };
    await run('modprobe', ['--', name], { env, timeout: MODPROBE_TIMEOUT });
  },
};
