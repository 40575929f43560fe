import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SILENT } from '../../src/log.js';
import { checked } from '../../src/native/errno.js';
import { opening, permissionRemedy } from '../../src/vfio/failures.js';
import { findGroup, foreignMembers } from '../../src/vfio/group-members.js';
import { Group } from '../../src/vfio/group.js';
import { openVfioFunction } from '../../src/vfio/index.js';
import { fetchInfo } from '../../src/vfio/info.js';
import { buildShim } from '../native/build-shim.js';
import { openFileCount } from '../native/process-state.js';
import { FakeSystem } from './fake-system.js';

const ADDRESS = '0000:00:10.0';
let system: FakeSystem;

beforeEach(() => {
  buildShim();
  system = new FakeSystem();
});
afterEach(() => system.remove());

/** The error of opening, once it is clear that nothing stayed open. */
function failure(address = ADDRESS): unknown {
  const before = openFileCount();
  const { sysfsRoot, devRoot } = system;
  try {
    openVfioFunction(address, { log: SILENT, sysfsRoot, devRoot }).close();
  } catch (error) {
    expect(openFileCount()).toBe(before);
    return error;
  }
  throw new Error('it could be opened');
}

describe('openVfioFunction', () => {
  it('refuses what is no PCI address, and one without a device', () => {
    expect(failure('../../etc')).toMatchObject({ code: 'PCI_ADDRESS_MALFORMED' });
    expect(failure()).toMatchObject({ code: 'PCI_NO_SUCH_DEVICE' });
  });

  it('says that a device has no IOMMU', () => {
    system.addDevice(ADDRESS, { driver: 'virtio-pci' });
    expect(failure()).toMatchObject({ code: 'VFIO_IOMMU_ABSENT' });
  });

  it.each([
    ['', /The VFIO of this kernel does not do without/],
    ['N', /echo Y > .*enable_unsafe_noiommu_mode.*all memory of the system/],
    ['Y', /unbind it, and bind it again/],
  ])('says what the kernel can do without one, whose switch is "%s"', (state, remedy) => {
    system.addDevice(ADDRESS, { driver: 'virtio-pci' });
    if (state !== '') system.addModuleParameter('vfio', 'enable_unsafe_noiommu_mode', state);
    expect(failure()).toMatchObject({
      code: 'VFIO_IOMMU_ABSENT',
      remedy: expect.stringMatching(remedy) as string,
    });
  });

  it('opens the file of a group that no-IOMMU mode made up', () => {
    system.addDevice(ADDRESS, { driver: 'vfio-pci', group: '0' });
    system.addGroupName('0', 'vfio-noiommu');
    system.addDeviceFile('0');
    expect(findGroup(ADDRESS, system.sysfsRoot)).toMatchObject({ id: '0', noIommu: true, node: 'noiommu-0' });
  });

  it('says that there is no VFIO', () => {
    system.addDevice(ADDRESS, { driver: 'vfio-pci', group: '7' });
    expect(failure()).toMatchObject({
      code: 'VFIO_NOT_AVAILABLE',
      errno: 2,
      syscall: `open ${system.devRoot}/vfio/vfio`,
      remedy: 'Load the module: modprobe vfio-pci',
    });
  });

  it('says that the file is no VFIO container, and closes it', () => {
    system.addDevice(ADDRESS, { driver: 'vfio-pci', group: '7' });
    const path = system.addDeviceFile('vfio');
    const error = failure();
    expect(error).toMatchObject({ code: 'VFIO_NOT_AVAILABLE', syscall: 'VFIO_GET_API_VERSION' });
    expect(String(error)).toContain(`${path} is no VFIO container`);
  });
});

describe('Group.open', () => {
  const missing = (driver: string): unknown => {
    const path = join(system.devRoot, 'vfio/7');
    try {
      return Group.open(path, {
        address: ADDRESS,
        id: '7',
        noIommu: false,
        node: '7',
        driver,
        members: [],
      });
    } catch (error) {
      return error;
    }
  };

  it('says to bind a device that is not bound, and never one that is', () => {
    expect(missing('virtio-pci')).toMatchObject({
      code: 'VFIO_NOT_AVAILABLE',
      remedy: `Bind ${ADDRESS} to vfio-pci; it is bound to virtio-pci now.`,
    });
    expect(missing('vfio-pci')).toMatchObject({
      code: 'VFIO_NOT_AVAILABLE',
      remedy: expect.stringContaining(`--device ${system.devRoot}/vfio/7`) as string,
    });
  });
});

describe('opening', () => {
  const codeFor = (errno: number): unknown => {
    try {
      return opening('/dev/vfio/7', () => checked('open', -errno), 'Bind it.');
    } catch (error) {
      return error;
    }
  };

  it('gives each errno its own code and remedy', () => {
    for (const errno of [1, 13]) {
      expect(codeFor(errno)).toMatchObject({
        code: 'VFIO_PERMISSION_DENIED',
        errno,
        remedy: permissionRemedy('/dev/vfio/7', process.getuid?.()),
      });
    }
    expect(codeFor(16)).toMatchObject({
      code: 'VFIO_DEVICE_BUSY',
      remedy: expect.stringContaining('fuser -v /dev/vfio/7') as string,
    });
    expect(codeFor(2)).toMatchObject({ code: 'VFIO_NOT_AVAILABLE', remedy: 'Bind it.' });
    expect(codeFor(24)).toMatchObject({ code: 'VFIO_CALL_FAILED', errno: 24, syscall: 'open /dev/vfio/7' });
  });

  it('does not tell root to become root', () => {
    expect(permissionRemedy('/dev/vfio/7', 1000)).toMatch(/chown 1000 \/dev\/vfio\/7 /);
    expect(permissionRemedy('/dev/vfio/7', undefined)).toMatch(/chown USER \/dev\/vfio\/7 /);
    expect(permissionRemedy('/dev/vfio/7', 0)).not.toMatch(/root|chown/);
  });

  it('passes other failures on', () => {
    const other = new TypeError('other');
    const act = (): never =>
      opening(
        '/dev/vfio/7',
        () => {
          throw other;
        },
        '',
      );
    expect(act).toThrow(other);
  });
});

describe('findGroup', () => {
  it('names the other devices of the group that a kernel driver holds', () => {
    system.addDevice(ADDRESS, { driver: 'vfio-pci', group: '7' });
    system.addDevice('0000:00:10.1', { driver: 'e1000e', group: '7' });
    system.addDevice('0000:00:10.2', { group: '7' });
    system.addDevice('0000:00:10.3', { driver: 'pcieport', group: '7' });
    system.addDevice('0000:00:10.4', { driver: 'vfio-pci', group: '7' });
    system.addDevice('0000:00:11.0', { driver: 'e1000e', group: '8' });
    const group = findGroup(ADDRESS, system.sysfsRoot);
    expect(group).toMatchObject({ id: '7', driver: 'vfio-pci', address: ADDRESS });
    expect(group.members).toHaveLength(5);
    expect(foreignMembers(group)).toEqual([{ address: '0000:00:10.1', driver: 'e1000e' }]);
  });
});

describe('fetchInfo', () => {
  it('asks again with as much room as the kernel needs', () => {
    const sizes: number[] = [];
    const bytes = fetchInfo('INFO', 16, (buffer) => {
      sizes.push(buffer.length);
      return 48;
    });
    expect(sizes).toEqual([16, 48]);
    expect(bytes).toHaveLength(48);
  });

  it('refuses a size that can not be, and reports a failure', () => {
    expect(() => fetchInfo('INFO', 16, () => 2 ** 31)).toThrow(
      expect.objectContaining({ code: 'VFIO_CALL_FAILED', syscall: 'INFO' }),
    );
    expect(() => fetchInfo('INFO', 16, () => -25)).toThrow(
      expect.objectContaining({ code: 'VFIO_CALL_FAILED', errno: 25 }),
    );
  });
});
