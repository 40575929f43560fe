/** Frames that must arrive and frames that must not, sent by another card on the same hub. */
import { formatMac, parseMac } from 'virtio-net/packet';
import type { Figures, SuiteCard } from '../../../vm/table/suite.js';
import { check } from './common-checks.js';
import { withSecond } from './second-card.js';
import type { Station } from './station.js';

/** For experiments (IEEE 802). */
const ETHER_TYPE = 0x88b5;
const VLAN = 0x8100;
const BROADCAST = 'ff:ff:ff:ff:ff:ff';
const MAC = { accepted: '02:00:00:00:00:11', other: '02:00:00:00:00:22', own: '02:00:00:00:00:33' } as const;
const GROUP = { accepted: '01:00:5e:00:00:11', other: '01:00:5e:00:00:22' } as const;

interface Probe {
  readonly to: string;
  readonly vlan?: number;
}

function frameOf({ to, vlan }: Probe, source: Uint8Array, number: number): Uint8Array {
  const tag = vlan === undefined ? [] : [VLAN >> 8, VLAN & 0xff, vlan >> 8, vlan & 0xff];
  const head = [...parseMac(to), ...source, ...tag, ETHER_TYPE >> 8, ETHER_TYPE & 0xff, number];
  return Uint8Array.from([...head, ...new Array<number>(64 - head.length).fill(0)]);
}

/** The number of a probe; undefined for another frame. */
function numberOf(frame: Uint8Array): number | undefined {
  const at = frame[12] === VLAN >> 8 && frame[13] === 0 ? 16 : 12;
  return ((frame[at] << 8) | frame[at + 1]) === ETHER_TYPE ? frame[at + 2] : undefined;
}

/** Sends the probes and says which arrived, as text: a 1 or a 0 for each. */
async function arrivals(to: Station, from: Station, probes: readonly Probe[]): Promise<string> {
  const seen = new Set<number>();
  const listener = (frame: Uint8Array): void => {
    const number = numberOf(frame);
    if (number !== undefined) seen.add(number);
  };
  to.listeners.add(listener);
  const source = from.device.macBytes;
  for (const [number, probe] of probes.entries()) await from.device.send(frameOf(probe, source, number));
  // Frames keep their order, so when the last has come the others have come or never will.
  await from.device.send(frameOf({ to: BROADCAST }, source, probes.length));
  await to.until(() => seen.has(probes.length), 'the broadcast behind the probes');
  to.listeners.delete(listener);
  return probes.map((_, number) => (seen.has(number) ? '1' : '0')).join('');
}

export function checkFilters(station: Station, card: SuiteCard): Promise<Figures> {
  const { device } = station;
  const { control } = device;
  return withSecond(card, async (second) => {
    const first = formatMac(device.macBytes);
    const probes: Probe[] = [
      ...[{ to: first }, { to: MAC.accepted }, { to: MAC.other }, { to: BROADCAST }],
      ...[{ to: GROUP.accepted }, { to: GROUP.other }, { to: MAC.own }],
      ...[
        { to: first, vlan: 5 },
        { to: first, vlan: 6 },
      ],
    ];
    const expectArrivals = async (when: string, expected: string): Promise<void> => {
      const seen = await arrivals(station, second, probes);
      check(seen === expected, `${when} there came ${seen} in place of ${expected}`);
    };
    await control.setReceiveMode({ promiscuous: false, allMulticast: false });
    await control.setMacTable({ unicast: [MAC.accepted], multicast: [GROUP.accepted] });
    await control.addVlan(5);
    await expectArrivals('with a MAC table and a VLAN', '110110010');
    await control.removeVlan(5);
    await control.addVlan(6);
    await control.setMacTable({});
    await expectArrivals('with another VLAN and an empty table', '100100001');
    await device.reset();
    await expectArrivals('after a reset', '100100001');
    await control.setReceiveMode({ allMulticast: true });
    await expectArrivals('with all multicast frames', '100111001');
    await control.setReceiveMode({ promiscuous: true });
    await expectArrivals('promiscuous', '111111111');
    await control.setReceiveMode({ promiscuous: false, allMulticast: false });
    await control.setMac(MAC.own);
    await expectArrivals('with another MAC address', '000100100');
    await control.setMac(first);
    await control.setReceiveMode({ promiscuous: true });
    return { probes: 6 * probes.length };
  });
}
