/** The network cards of a VM: what a caller says of one, and what becomes of it in QEMU and in the guest. */
import { join } from 'node:path';
import type { VhostSocket } from './dpdk.js';
import { tapNetwork, type Tap } from './namespace.js';
import { VmError } from './vm-error.js';

/** Whether a guest has an IOMMU; `noiommu`: it has none, and VFIO does without. */
export type VmIommu = 'intel' | 'none' | 'noiommu';

/** A virtio-net-pci card of the guest. In QMP it is called `nicN`, and its backend `netN`, N from 0 on. */
export interface VmNic {
  /**
   * Further properties of QEMU's virtio-net-pci, as on its command line: `packed=on,mq=on,vectors=6`.
   *
   * With a vIOMMU, `iommu_platform=on` and `disable-legacy=on` are added unless the properties name them, or
   * name `disable-modern`. `addr=` (in hex, as QEMU has it) moves the card from its place, 0000:00:10.0 for
   * the first, 0000:00:11.0 for the second and so on.
   */
  readonly properties?: string;
  /** The backend without its id: `user` (the default), `hubport,hubid=0`, `stream,addr.type=unix,...`. */
  readonly netdev?: string;
  /** Connects the card to a tap of a Linux network stack instead: see namespace.ts for its addresses. */
  readonly tap?: VmTap;
  /** Puts DPDK's vhost backend behind the card instead, with so many queue pairs; it answers every echo request. */
  readonly vhostQueues?: number;
  /** Whether to record what crosses between the card and its backend, as a pcap. */
  readonly dump?: boolean;
  /** How much of a frame to record, in bytes. Default: all of it. */
  readonly dumpLength?: number;
  /**
   * Who gets the card before the command runs: vfio-pci (`true`), the kernel's virtio_net (`false`), or
   * nobody (`'none'`). The default is `true`; without a vIOMMU it is `'none'`, since the guest's kernel then
   * lets vfio-pci take no card.
   */
  readonly bind?: boolean | 'none';
  /** The card's PCI address in the guest; to be named only if the properties put it on another `bus=`. */
  readonly address?: string;
}

/** What a tap is made with. */
export interface VmTap {
  /** Number of queue pairs. Default: 1. */
  readonly queues?: number;
  /** Default: 1500. */
  readonly mtu?: number;
}

/** A card with all that was left open decided. */
export interface PlannedNic {
  readonly id: string;
  /** Its PCI address in the guest. */
  readonly address: string;
  /** The name of the driver that it is bound to in the guest. */
  readonly driver: 'vfio-pci' | 'virtio-pci' | 'none';
  /** Where QEMU records its frames. */
  readonly dumpFile: string | undefined;
  readonly tap: Tap | undefined;
  /** Where DPDK serves it. */
  readonly socket: VhostSocket | undefined;
  readonly qemuArguments: readonly string[];
}

const FIRST_SLOT = 0x10;
const LAST_SLOT = 0x1e;

/** Splits QEMU's `name=value,...`, in which a doubled comma stands for one. */
function parseProperties(text: string): Map<string, string> {
  const parts = text
    .replaceAll(',,', '\0')
    .split(',')
    .filter((part) => part !== '');
  return new Map(
    parts.map((part) => {
      const [, name = '', value = 'on'] = /^([^=]*)(?:=(.*))?$/s.exec(part) ?? [];
      return [name.trim(), value.replaceAll('\0', ',')];
    }),
  );
}

const formatProperties = (properties: ReadonlyMap<string, string>): string =>
  [...properties].map(([name, value]) => `${name}=${value.replaceAll(',', ',,')}`).join(',');

function completeProperties(nic: VmNic, index: number, iommu: VmIommu): Map<string, string> {
  const given = parseProperties(nic.properties ?? '');
  const properties = new Map([
    ['netdev', `net${index}`],
    ['id', `nic${index}`],
    // Without an option ROM the firmware does not try to boot from the network.
    ['romfile', ''],
    ['bus', 'pcie.0'],
  ]);
  if (nic.tap !== undefined) properties.set('mac', tapMac(index));
  if (!given.has('bus')) properties.set('addr', (FIRST_SLOT + index).toString(16));
  if (iommu === 'intel' && !given.has('disable-modern')) {
    properties.set('iommu_platform', 'on').set('disable-legacy', 'on');
  }
  for (const [name, value] of given) properties.set(name, value);
  return properties;
}

const tapMac = (index: number): string => `52:54:00:64:00:${index.toString(16).padStart(2, '0')}`;

function planTap(
  { queues = 1, mtu = 1500 }: VmTap,
  index: number,
  properties: ReadonlyMap<string, string>,
): Tap {
  const mac = properties.get('mac') ?? tapMac(index);
  return { name: `tap${index}`, mac, queues, mtu, network: tapNetwork(index) };
}

function vhostBackend({ path, queues }: VhostSocket, index: number): string[] {
  const options = queues > 1 ? `,queues=${queues}` : '';
  return [
    ...['-chardev', `socket,id=vhost${index},path=${path.replaceAll(',', ',,')}`],
    ...['-netdev', `vhost-user,id=net${index},chardev=vhost${index}${options}`],
  ];
}

function tapBackend({ name, queues }: Tap): string {
  return `tap,ifname=${name},script=no,downscript=no,vhost=off${queues > 1 ? `,queues=${queues}` : ''}`;
}

function addressOf(nic: VmNic, properties: ReadonlyMap<string, string>): string {
  if (nic.address !== undefined) return nic.address;
  const place = properties.get('addr') ?? '';
  const match = /^(?:0x)?([\da-f]{1,2})(?:\.([0-7]))?$/i.exec(place);
  const slot = Number.parseInt(match?.[1] ?? '', 16);
  if (properties.get('bus') !== 'pcie.0' || !(slot <= LAST_SLOT)) {
    throw new VmError(
      'VM_OPTION_INVALID',
      `The PCI address of the card "${nic.properties ?? ''}" in the guest is not known; ` +
        'give it a place such as addr=12.0, or name its address.',
    );
  }
  return `0000:00:${slot.toString(16).padStart(2, '0')}.${match?.[2] ?? '0'}`;
}

function driverOf(nic: VmNic, iommu: VmIommu): PlannedNic['driver'] {
  const bind = nic.bind ?? (iommu === 'none' ? 'none' : true);
  if (bind === 'none') return 'none';
  return bind ? 'vfio-pci' : 'virtio-pci';
}

function netdevArguments(backend: string, index: number): string[] {
  const [type = '', ...options] = backend.split(',');
  return ['-netdev', [type, `id=net${index}`, ...options].join(',')];
}

function dumpArguments(
  index: number,
  { dumpLength = 65_536 }: VmNic,
  dumpFile: string | undefined,
): string[] {
  if (dumpFile === undefined) return [];
  const file = dumpFile.replaceAll(',', ',,');
  return ['-object', `filter-dump,id=dump${index},netdev=net${index},maxlen=${dumpLength},file=${file}`];
}

function planNic(nic: VmNic, index: number, iommu: VmIommu, folder: string): PlannedNic {
  const properties = completeProperties(nic, index, iommu);
  const dumpFile = nic.dump === true ? join(folder, `nic${index}.pcap`) : undefined;
  const tap = nic.tap === undefined ? undefined : planTap(nic.tap, index, properties);
  const { vhostQueues } = nic;
  const path = join(folder, `vhost${index}`);
  const socket = vhostQueues === undefined ? undefined : { path, queues: vhostQueues };
  const backend = tap === undefined ? (nic.netdev ?? 'user') : tapBackend(tap);
  const netdev = socket === undefined ? netdevArguments(backend, index) : vhostBackend(socket, index);
  const device = ['-device', `virtio-net-pci,${formatProperties(properties)}`];
  return {
    id: `nic${index}`,
    address: addressOf(nic, properties),
    driver: driverOf(nic, iommu),
    dumpFile,
    tap,
    socket,
    qemuArguments: [...netdev, ...dumpArguments(index, nic, dumpFile), ...device],
  };
}

/**
 * Decides what was left open about the cards.
 *
 * @param folder - where their recordings go
 * @throws VmError VM_OPTION_INVALID
 */
export function planNics(nics: readonly VmNic[], iommu: VmIommu, folder: string): PlannedNic[] {
  return nics.map((nic, index) => planNic(nic, index, iommu, folder));
}
