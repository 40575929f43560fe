/**
 * A folder shaped as sysfs, and a model of what the kernel does when its attributes are written.
 *
 * Reading goes through the real file system; writes come through `KernelControls`, because an ordinary folder
 * does not answer a write. The model follows drivers/base/bus.c and drivers/pci/pci-sysfs.c of Linux 6.1 in
 * what succeeds and with which errno it fails.
 */
import { access, mkdir, mkdtemp, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import type { KernelControls } from '../../src/pci/kernel-controls.js';

export interface FakeDevice {
  readonly address: string;
  readonly vendor?: number;
  readonly device?: number;
  readonly revision?: number;
  readonly subsystemVendor?: number;
  readonly subsystemDevice?: number;
  readonly driver?: string;
  readonly driverOverride?: string;
  readonly group?: number;
  /** Interface name and its flags in hexadecimal. */
  readonly interfaces?: Readonly<Record<string, string>>;
  /** Where the interfaces are, below the device: `virtio0/net` unless told. */
  readonly netFolder?: string;
}

export interface FakeSysfsOptions {
  readonly devices?: readonly FakeDevice[];
  readonly drivers?: readonly string[];
}

function systemError(code: string, errno: number, path: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: write '${path}'`), {
    code,
    errno: -errno,
    syscall: 'write',
    path,
  });
}

export class FakeSysfs implements KernelControls {
  readonly root: string;
  readonly dev: string;
  /** The writes that reached the kernel, as `path=value` with the path from the PCI bus on. */
  readonly writes: string[] = [];
  readonly loaded: string[] = [];
  /** Modules that modprobe can load, each of which adds a driver of the same name. */
  readonly modules = new Set<string>();
  /** Called before a write; what it throws is what the write fails with. */
  beforeWrite: (file: string, value: string) => void | Promise<void> = () => undefined;

  private constructor(root: string) {
    this.root = root;
    this.dev = join(root, 'dev');
  }

  static async create({ devices = [], drivers = [] }: FakeSysfsOptions = {}): Promise<FakeSysfs> {
    const sysfs = new FakeSysfs(await mkdtemp(join(tmpdir(), 'sysfs-')));
    await mkdir(join(sysfs.root, 'bus/pci/devices'), { recursive: true });
    await mkdir(join(sysfs.dev, 'vfio'), { recursive: true });
    await mkdir(join(sysfs.root, 'module/vfio_iommu_type1'), { recursive: true });
    for (const driver of drivers) await sysfs.addDriver(driver);
    for (const device of devices) await sysfs.addDevice(device);
    return sysfs;
  }

  async remove(): Promise<void> {
    await rm(this.root, { recursive: true });
  }

  devicePath(address: string): string {
    return join(this.root, 'bus/pci/devices', address);
  }

  async addDriver(name: string): Promise<void> {
    await mkdir(join(this.root, 'bus/pci/drivers', name), { recursive: true });
  }

  async addDevice(device: FakeDevice): Promise<void> {
    const path = this.devicePath(device.address);
    await mkdir(path, { recursive: true });
    const attribute = (name: string, value: string): Promise<void> =>
      writeFile(join(path, name), `${value}\n`);
    const hex = (value: number, digits = 4): string => `0x${value.toString(16).padStart(digits, '0')}`;
    await attribute('vendor', hex(device.vendor ?? 0x1af4));
    await attribute('device', hex(device.device ?? 0x1041));
    await attribute('subsystem_vendor', hex(device.subsystemVendor ?? 0x1af4));
    await attribute('subsystem_device', hex(device.subsystemDevice ?? 0x1100));
    await attribute('revision', hex(device.revision ?? 1, 2));
    await attribute('class', '0x020000');
    await attribute('driver_override', device.driverOverride ?? '(null)');
    if (device.group !== undefined) await this.#joinGroup(device.address, device.group);
    if (device.driver !== undefined) await this.#linkDriver(device.address, device.driver);
    if (device.interfaces !== undefined) await this.#addInterfaces(path, device);
  }

  async removeModule(name: string): Promise<void> {
    await rm(join(this.root, 'module', name), { recursive: true });
  }

  async removeDevice(address: string): Promise<void> {
    await rm(this.devicePath(address), { recursive: true });
  }

  async driverOf(address: string): Promise<string | undefined> {
    return readlink(join(this.devicePath(address), 'driver')).then(basename, () => undefined);
  }

  async overrideOf(address: string): Promise<string> {
    return (await readFile(join(this.devicePath(address), 'driver_override'), 'latin1')).trim();
  }

  async loadModule(name: string): Promise<void> {
    this.loaded.push(name);
    if (!this.modules.has(name)) throw new Error(`modprobe: FATAL: Module ${name} not found`);
    await this.addDriver(name);
  }

  async writeAttribute(path: string, value: string): Promise<void> {
    const file = path.slice(join(this.root, 'bus/pci/').length);
    await this.beforeWrite(file, value);
    this.writes.push(`${file}=${value.trim()}`);
    const folder = basename(dirname(path));
    if (basename(path) === 'driver_override') await writeFile(path, `${value.trim() || '(null)'}\n`);
    else if (basename(path) === 'unbind') await this.#unbind(value, folder, path);
    else if (basename(path) === 'bind') await this.#bind(value, folder, path);
    else throw systemError('ENOENT', 2, path);
  }

  /** Binds as another program would: without asking, and without leaving a trace in `writes`. */
  async bindBehindTheBack(address: string, driver: string | undefined): Promise<void> {
    await rm(join(this.devicePath(address), 'driver'), { force: true });
    if (driver !== undefined) await this.#linkDriver(address, driver);
  }

  async addGroupNode(name: string): Promise<void> {
    await writeFile(join(this.dev, 'vfio', name), '');
  }

  async #unbind(address: string, driver: string, path: string): Promise<void> {
    if ((await this.driverOf(address)) !== driver) throw systemError('ENODEV', 19, path);
    await rm(join(this.devicePath(address), 'driver'));
  }

  async #bind(address: string, driver: string, path: string): Promise<void> {
    const override = await this.overrideOf(address);
    if (!(await this.#hasDriver(driver))) throw systemError('ENOENT', 2, path);
    if (override !== '(null)' && override !== driver) throw systemError('ENODEV', 19, path);
    if ((await this.driverOf(address)) !== undefined) throw systemError('EBUSY', 16, path);
    await this.#linkDriver(address, driver);
  }

  #hasDriver(driver: string): Promise<boolean> {
    return access(join(this.root, 'bus/pci/drivers', driver)).then(
      () => true,
      () => false,
    );
  }

  async #linkDriver(address: string, driver: string): Promise<void> {
    await symlink(`../../drivers/${driver}`, join(this.devicePath(address), 'driver'));
  }

  async #joinGroup(address: string, group: number): Promise<void> {
    const folder = join(this.root, 'kernel/iommu_groups', String(group));
    await mkdir(join(folder, 'devices'), { recursive: true });
    await symlink(this.devicePath(address), join(folder, 'devices', address));
    await symlink(folder, join(this.devicePath(address), 'iommu_group'));
  }

  async #addInterfaces(path: string, device: FakeDevice): Promise<void> {
    const folder = join(path, device.netFolder ?? 'virtio0/net');
    await mkdir(folder, { recursive: true });
    for (const [name, flags] of Object.entries(device.interfaces ?? {})) {
      await mkdir(join(folder, name));
      await writeFile(join(folder, name, 'flags'), `${flags}\n`);
    }
  }
}

/** A write that fails with this errno, for `beforeWrite`. */
export const failWith =
  (code: string, errno: number) =>
  (file: string): never => {
    throw systemError(code, errno, file);
  };
