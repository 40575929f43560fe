/** What can not be had is refused with an error of its own, and leaves everything as it was. */
import { expect, it } from 'vitest';
import { describeVm } from '../vm/describe-vm.js';
import { reported, runGuest } from '../vm/run-guest.js';

const LONG = 600_000;

function refusal(code: string, ...words: string[]): unknown {
  const all = words.map((word) => `(?=[\\s\\S]*${word.replaceAll('.', '\\.')})`).join('');
  return { code, message: expect.stringMatching(new RegExp(all)) as string, remedied: true };
}

describeVm('opening a real device', () => {
  // Proves: core/reserved-feature-bits/4
  it(
    'is refused with a code and a remedy, and leaves the device as it was',
    async () => {
      const { status, output, dmarFaults } = await runGuest(
        ['system/guest/refusals'],
        'ip link set eth1 up || ip link set eth0 up; node refusals.mjs',
        {
          nics: [
            {},
            { properties: 'addr=11.0,multifunction=on' },
            { properties: 'addr=11.1', bind: false },
            { properties: 'addr=12.0,iommu_platform=off' },
            { properties: 'addr=13.0', bind: false },
            { properties: 'addr=14.0,vectors=0' },
          ],
        },
      );
      expect(status, output).toBe(0);
      const { begin, ...seen } = reported(output);
      expect(begin).toBe(true);
      expect(seen).toEqual({
        'no such address': refusal('PCI_NO_SUCH_DEVICE', '0000:00:1f.7'),
        'malformed address': refusal('PCI_ADDRESS_MALFORMED', '0000:00:10.0'),
        'not virtio-net': refusal('PCI_NOT_VIRTIO_NET', '8086'),
        'interface up': refusal('PCI_INTERFACE_UP', 'eth1', 'ip link set'),
        'group not viable': refusal('VFIO_GROUP_NOT_VIABLE', '0000:00:11.1', 'virtio-pci'),
        'bypasses the IOMMU': refusal('DEVICE_BYPASSES_IOMMU', 'iommu_platform=on'),
        'is given physical addresses': 'none',
        'no vectors': 'none',
        'vectors where there are none': refusal('DEVICE_VECTOR_REFUSED', 'MSI-X'),
        'more queue pairs than there are': refusal(
          'QUEUE_PAIRS_TOO_FEW',
          'VIRTIO_NET_F_MQ',
          'ask for one pair',
        ),
        'feature not offered': refusal('DEVICE_FEATURE_MISSING', 'VIRTIO_NET_F_MTU'),
        aborted: 'AbortError: This operation was aborted',
        'in use by another process': refusal('VFIO_DEVICE_BUSY', '/dev/vfio/'),
        'in use by this process': refusal('VFIO_DEVICE_BUSY', '/dev/vfio/'),
        'no permission': refusal('VFIO_PERMISSION_DENIED', 'chown', '/dev/vfio/'),
        'memlock too low': refusal('VFIO_MEMLOCK_TOO_LOW', '8388608', 'ulimit'),
        'an unprivileged user': 'none',
        'no /dev/vfio': refusal('VFIO_NOT_AVAILABLE', '/dev/vfio/vfio', 'modprobe'),
        'no permission for the container': refusal('VFIO_PERMISSION_DENIED', '/dev/vfio/vfio'),
        'nothing is wrong': 'none',
        'left behind': true,
        drivers: ['vfio-pci', 'vfio-pci', 'virtio-pci', 'vfio-pci', 'virtio-pci', 'vfio-pci'],
        interfaces: ['eth0', 'eth1'],
      });
      expect(dmarFaults).toEqual([]);
    },
    LONG,
  );

  it(
    'is refused where there is no IOMMU',
    async () => {
      const { status, output } = await runGuest(
        [],
        'node examples/ping.js 0000:00:10.0 10.0.2.2 --count 1; echo $?',
        {
          iommu: false,
          nics: [{ bind: false }],
        },
      );
      expect(status, output).toBe(0);
      expect(output).toMatch(/ping: .*0000:00:10\.0 is in no IOMMU group/);
      expect(output).toContain('intel_iommu=on');
      expect(output).toMatch(/^2$/m);
    },
    LONG,
  );
});
