/** Settings of cards that QEMU makes: what arrives after each, and what QEMU says that it was told. */
import { expect, it } from 'vitest';
import { describeVm } from '../vm/describe-vm.js';
import { reported, runGuest } from '../vm/run-guest.js';
import type { RunningVm } from '../vm/session.js';

const HUB = 'hubport,hubid=0';
const MACS = ['52:54:00:00:00:01', '52:54:00:00:00:02'];
const CARDS = [
  ['split', '10.0'],
  ['packed', '11.0'],
] as const;

interface RxFilter {
  readonly promiscuous: boolean;
  readonly 'main-mac': string;
  readonly 'vlan-table': readonly number[];
}

describeVm('the settings of a card of QEMU', () => {
  it('are acted upon, and come back after a reset', async () => {
    const filters: Record<string, RxFilter> = {};
    /** Does what the guest asks for, and answers by a change of the link. */
    const act = async (line: string, vm: RunningVm): Promise<void> => {
      const [, number, what] = /^outside: (\d) (\S+)$/.exec(line) ?? ['', '', ''];
      if (what === '') return;
      const name = `nic${number}`;
      if (what === 'announce') {
        await vm.qmp('announce-self', {
          initial: 50,
          max: 100,
          rounds: 1,
          step: 50,
          interfaces: [name],
        });
        return;
      }
      if (what.startsWith('filter')) {
        filters[`${number} ${what}`] = ((await vm.qmp('query-rx-filter', { name })) as RxFilter[])[0];
      }
      await vm.qmp('set_link', { name, up: what === 'link-up' });
    };
    const runs = CARDS.map(
      ([format, slot], index) =>
        `echo run ${format}; node card-settings.mjs ${index} 0000:00:${slot} 0000:00:12.0 0000:00:13.0 || exit 1`,
    );
    const { status, output, dmarFaults } = await runGuest(['net/guest/card-settings'], runs.join('; '), {
      nics: [
        { netdev: HUB, properties: `mac=${MACS[0]}` },
        { netdev: HUB, properties: `mac=${MACS[1]},packed=on` },
        { netdev: HUB },
        { tap: {} },
      ],
      onLine: act,
      timeoutSeconds: 150,
    });
    expect(status, output).toBe(0);
    expect(dmarFaults).toEqual([]);

    const parts = output.split(/^run /m).slice(1);
    expect(parts).toHaveLength(CARDS.length);
    for (const [index, [format]] of CARDS.entries()) {
      const { features, ...seen } = reported(parts[index]);
      expect(features).toEqual(
        expect.arrayContaining([
          'VIRTIO_NET_F_CTRL_VQ',
          'VIRTIO_NET_F_CTRL_RX',
          'VIRTIO_NET_F_CTRL_RX_EXTRA',
          'VIRTIO_NET_F_CTRL_VLAN',
          'VIRTIO_NET_F_CTRL_MAC_ADDR',
          'VIRTIO_NET_F_CTRL_GUEST_OFFLOADS',
          'VIRTIO_NET_F_GUEST_ANNOUNCE',
          ...(format === 'packed' ? ['VIRTIO_F_RING_PACKED'] : []),
        ]),
      );
      const moved = { mac: '02:00:00:ee:ee:ee', arriving: ['other', 'broadcast', 'VLAN 5'] };
      expect(seen).toEqual({
        'at first': ['own', 'other', 'group', 'broadcast', 'VLAN 5', 'VLAN 6'],
        'not promiscuous': ['own', 'broadcast'],
        'all multicast, no broadcast': ['own', 'group'],
        'all unicast': ['own', 'other', 'broadcast'],
        table: ['own', 'other', 'group', 'broadcast'],
        'VLAN 5': ['own', 'broadcast', 'VLAN 5'],
        'another address': moved,
        'after a reset': { lostSettings: [], ...moved },
        announcements: 2,
        'offload that was not asked for': expect.objectContaining({
          code: 'FEATURE_NOT_NEGOTIATED',
        }) as unknown,
        'receive side scaling': expect.objectContaining({ code: 'FEATURE_NOT_NEGOTIATED' }) as unknown,
        // QEMU takes the command only where its backend can do offloads.
        'offloads without a backend for them': expect.objectContaining({
          code: 'CONTROL_COMMAND_REFUSED',
        }) as unknown,
        'offloads with one': null,
      });
      for (const what of ['filter-set', 'filter-restored']) {
        expect(filters[`${index} ${what}`]).toMatchObject({
          promiscuous: false,
          'main-mac': '02:00:00:ee:ee:ee',
          'vlan-table': [5],
        });
      }
    }
  });
});
