/** The driver on the cards of QEMU, in a guest with an IOMMU: frames, byte by byte, and what is left afterwards. */
import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import { describeVm } from '../vm/describe-vm.js';
import { readFrames } from '../vm/pcap.js';
import type { Holdings } from './guest/holdings.js';
import { reported, runGuest } from '../vm/run-guest.js';

const LONG = 900_000;
const LENGTHS = Array.from({ length: 1514 - 60 + 1 }, (_, index) => 60 + index);

function digest(frame: Uint8Array): string {
  return createHash('sha256').update(frame).digest('hex').slice(0, 32);
}

/** What has a card offer a ring format; split ones every card can do. */
const RINGS = { split: {}, packed: { properties: 'packed=on' } } as const;

describeVm('frames through a real card', () => {
  // Proves: core/reserved-feature-bits/3, core/reserved-feature-bits/5
  it.each([
    ['split', 'interrupts'],
    ['split', 'polled'],
    ['packed', 'interrupts'],
    ['packed', 'polled'],
  ] as const)(
    'are on the wire what they are in the program, at every length, on %s rings, with %s',
    async (format, mode) => {
      const { status, output, dumps, dmarFaults } = await runGuest(
        ['system/guest/echo-lengths'],
        `node echo-lengths.mjs 0000:00:10.0 ${mode} && echo all done`,
        { nics: [{ dump: true, ...RINGS[format] }] },
      );
      expect(status, output.slice(-2000)).toBe(0);
      const seen = output.split('\n').filter((line) => /^(sent|received) /.test(line));
      const wire = readFrames(dumps[0] ?? Buffer.alloc(0)).map((frame) => `${frame.length} ${digest(frame)}`);
      // Each frame that the program sent or received crossed the wire, and nothing else did.
      expect(seen.map((line) => line.replace(/^\w+ /, '')).sort()).toEqual(wire.sort());
      const lengths = (way: string): number[] =>
        seen.filter((line) => line.startsWith(way)).map((line) => Number(line.split(' ')[1]));
      expect(lengths('sent')).toEqual(expect.arrayContaining(LENGTHS));
      expect(lengths('received')).toEqual(expect.arrayContaining(LENGTHS));
      expect(dmarFaults).toEqual([]);
      const features = reported(output).features as string[];
      expect(features).toContain('VIRTIO_F_ACCESS_PLATFORM');
      expect(features.includes('VIRTIO_F_RING_PACKED')).toBe(format === 'packed');
      const { interrupts } = reported(output).statistics as { interrupts: { receive: number } };
      if (mode === 'polled') expect(interrupts.receive).toBe(0);
      else expect(interrupts.receive).toBeGreaterThan(0);
    },
    LONG,
  );

  it(
    'come and go 10,000 times, flooded, without loss, with interrupts and polled',
    async () => {
      const flood = 'node examples/ping.js 0000:00:10.0 10.0.2.2 --count 10000 --interval 0';
      const { status, output, dmarFaults } = await runGuest([], `${flood} && ${flood} --polled`);
      expect(status, output).toBe(0);
      const summaries = output.match(/^.*packets transmitted.*$/gm) ?? [];
      expect(summaries).toHaveLength(2);
      for (const line of summaries) {
        expect(line).toContain('10000 packets transmitted, 10000 received, 0% packet loss');
      }
      expect(dmarFaults).toEqual([]);
    },
    LONG,
  );
});

describeVm('a card with packed rings', () => {
  it(
    'brings 2,000 pings there and back, flooded, without loss, with interrupts and polled',
    async () => {
      const flood =
        'VIRTIO_NET_LOG=info node examples/ping.js 0000:00:10.0 10.0.2.2 --count 2000 --interval 0';
      const { status, output, dmarFaults } = await runGuest([], `${flood} && ${flood} --polled`, {
        nics: [RINGS.packed],
      });
      expect(status, output).toBe(0);
      const opened = output.match(/^.*device opened.*$/gm) ?? [];
      const summaries = output.match(/^.*packets transmitted.*$/gm) ?? [];
      expect([opened.length, summaries.length]).toEqual([2, 2]);
      for (const line of opened) expect(line).toContain('VIRTIO_F_RING_PACKED');
      for (const line of summaries) {
        expect(line).toContain('2000 packets transmitted, 2000 received, 0% packet loss');
      }
      expect(dmarFaults).toEqual([]);
    },
    LONG,
  );
});

describeVm('a card', () => {
  it(
    'leaves nothing behind after 200 lives',
    async () => {
      const { status, output, dmarFaults } = await runGuest(
        ['system/guest/lives'],
        'node lives.mjs 0000:00:10.0 200',
      );
      expect(status, output).toBe(0);
      const { before, during, after } = reported(output) as Record<'before' | 'during' | 'after', Holdings>;
      // What is counted is what an open device holds.
      expect(during.files.length).toBeGreaterThan(before.files.length);
      expect(during.mappings).toBeGreaterThan(before.mappings);
      expect(during.locked + during.pinned).toBeGreaterThan(before.locked + before.pinned);
      expect(after).toEqual(before);
      expect(dmarFaults).toEqual([]);
    },
    LONG,
  );

  it(
    'works with the kernel’s driver again after close',
    async () => {
      const script = `
        set -e
        ip link show eth0 >/dev/null
        node examples/ping.js 0000:00:10.0 10.0.2.2 --count 2 --interval 0.1
        readlink /sys/bus/pci/devices/0000:00:10.0/driver
        ip address add 10.0.2.15/24 dev eth0
        ip link set eth0 up
        ping -c 2 -W 5 10.0.2.2
        node examples/ping.js 0000:00:10.0 10.0.2.2 --count 1 || echo refused with $?
        ip link set eth0 down
        node examples/ping.js 0000:00:10.0 10.0.2.2 --count 1
      `;
      const { status, output, dmarFaults } = await runGuest([], script, { nics: [{ bind: false }] });
      expect(status, output).toBe(0);
      expect(output).toContain('/virtio-pci');
      expect(output).toContain('2 packets transmitted, 2 received, 0% packet loss');
      expect(output).toMatch(/2 packets transmitted, 2 packets received, 0% packet loss/);
      expect(output).toMatch(/ping: .*eth0.*is up/);
      expect(output).toContain('refused with 2');
      expect(output).toContain('1 packets transmitted, 1 received');
      expect(dmarFaults).toEqual([]);
    },
    LONG,
  );
});
