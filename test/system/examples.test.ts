/** examples/rx-count, pktgen and forward on real cards, two at each end of two wires. */
import { expect, it } from 'vitest';
import { describeVm } from '../vm/describe-vm.js';
import { runGuest } from '../vm/run-guest.js';

const LONG = 900_000;
const [A, B, C, D] = ['0000:00:10.0', '0000:00:11.0', '0000:00:12.0', '0000:00:13.0'];

/** No more than a ring holds: whatever is slow, nothing gets lost then. */
const FRAMES = 200;

const count = (frames: number): string => `${frames} frames received, ${64 * frames} bytes`;
const sent = (frames: number): string => `${frames} sent, ${64 * frames} bytes`;

const SCRIPT = `
  set -e
  # A program has begun to poll when it has printed its first rates.
  ready() { until [ -s $1 ]; do kill -0 $2; sleep 0.1; done; }

  node examples/rx-count.js ${D} --count ${FRAMES} >rx-count.txt & counter=$!
  node examples/forward.js ${B} ${C} --count ${FRAMES} >forward.txt & forwarder=$!
  ready rx-count.txt $counter
  ready forward.txt $forwarder
  node examples/pktgen.js ${A} --count ${FRAMES} --burst 7 | tail -n 1
  wait $forwarder
  tail -n 2 forward.txt
  wait $counter
  tail -n 1 rx-count.txt

  node examples/forward.js ${A} --count ${FRAMES} >loop.txt & loop=$!
  ready loop.txt $loop
  node examples/pktgen.js ${B} --count ${FRAMES} | tail -n 1
  wait $loop
  tail -n 1 loop.txt

  node examples/forward.js ${C} ${D} >stopped.txt & stopped=$!
  ready stopped.txt $stopped
  kill -INT $stopped
  wait $stopped
  tail -n 2 stopped.txt
  for card in ${A} ${B} ${C} ${D}; do basename "$(readlink /sys/bus/pci/devices/$card/driver)"; done
`;

describeVm('the polled examples', () => {
  it(
    'carry frames over real cards, count them, and give the cards back',
    async () => {
      const wire = (number: number): string => `hubport,hubid=${number}`;
      const { status, output, dmarFaults } = await runGuest([], SCRIPT, {
        nics: [wire(1), wire(1), wire(2), wire(2)].map((netdev) => ({ netdev, bind: false })),
      });
      expect(status, output).toBe(0);
      expect(output.trim().split('\n')).toEqual([
        `${A}: ${count(0)}; ${sent(FRAMES)}`,
        `${B}: ${count(FRAMES)}; ${sent(0)}`,
        `${C}: ${count(0)}; ${sent(FRAMES)}`,
        `${D}: ${count(FRAMES)}; ${sent(0)}`,
        `${B}: ${count(0)}; ${sent(FRAMES)}`,
        `${A}: ${count(FRAMES)}; ${sent(FRAMES)}`,
        `${C}: ${count(0)}; ${sent(0)}`,
        `${D}: ${count(0)}; ${sent(0)}`,
        ...['virtio-pci', 'virtio-pci', 'virtio-pci', 'virtio-pci'],
      ]);
      expect(dmarFaults).toEqual([]);
    },
    LONG,
  );
});
