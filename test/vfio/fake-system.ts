/** A sysfs and a /dev in a temporary folder, as far as opening a device looks at them. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface FakeDevice {
  readonly driver?: string;
  readonly group?: string;
}

export class FakeSystem {
  readonly folder = mkdtempSync(join(tmpdir(), 'fake-vfio-'));
  readonly sysfsRoot = join(this.folder, 'sys');
  readonly devRoot = join(this.folder, 'dev');

  constructor() {
    mkdirSync(join(this.sysfsRoot, 'bus/pci/devices'), { recursive: true });
    mkdirSync(join(this.devRoot, 'vfio'), { recursive: true });
  }

  addDevice(address: string, { driver, group }: FakeDevice): void {
    const path = join(this.sysfsRoot, 'bus/pci/devices', address);
    mkdirSync(path);
    if (driver !== undefined) symlinkSync(`../../../../bus/pci/drivers/${driver}`, join(path, 'driver'));
    if (group === undefined) return;
    const groupPath = join(this.sysfsRoot, 'kernel/iommu_groups', group);
    mkdirSync(join(groupPath, 'devices'), { recursive: true });
    symlinkSync(groupPath, join(path, 'iommu_group'));
    symlinkSync(path, join(groupPath, 'devices', address));
  }

  addIds(address: string, vendor: number, device: number): void {
    for (const [name, id] of Object.entries({ vendor, device })) {
      writeFileSync(join(this.sysfsRoot, 'bus/pci/devices', address, name), `0x${id.toString(16)}\n`);
    }
  }

  addGroupName(group: string, name: string): void {
    writeFileSync(join(this.sysfsRoot, 'kernel/iommu_groups', group, 'name'), `${name}\n`);
  }

  addModuleParameter(module: string, name: string, value: string): void {
    const folder = join(this.sysfsRoot, 'module', module, 'parameters');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, name), `${value}\n`);
  }

  addDeviceFile(name: string): string {
    const path = join(this.devRoot, 'vfio', name);
    writeFileSync(path, '');
    return path;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }
}
