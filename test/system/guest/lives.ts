/**
 * Opens, starts, stops and closes a card again and again, and reports what the process holds after the first rounds
 * and at the end.
 *
 *     lives.mjs <pci-address> <rounds>
 */
import { NetDevice } from 'virtio-net';
import { buildArpRequest, parseIpv4 } from 'virtio-net/packet';
import { holdings } from './holdings.js';
import { report } from '../../vm/guest/report.js';

const [address, rounds] = process.argv.slice(2);
const WARM_UP = 5;

async function live(round: number): Promise<void> {
  const device = await NetDevice.open(address, { interrupts: round % 2 === 0 });
  const { size } = device.statistics().pool;
  for (let start = 0; start < 2; start += 1) {
    await device.start();
    const reply = device.frames().next();
    await device.send(
      buildArpRequest({
        senderMac: device.macBytes,
        senderIp: parseIpv4('10.0.2.15'),
        targetIp: parseIpv4('10.0.2.2'),
      }),
    );
    // The answer is awaited every tenth time: the other times the device is stopped with frames under way.
    if (round % 10 === 0) await reply;
    await device.stop();
  }
  const { available } = device.statistics().pool;
  await device.close();
  if (available > size || available < size - 2)
    throw new Error(`${available} of ${size} buffers are in the pool`);
}

// The first use of standard output opens a file of its own, which stays.
report('rounds', Number(rounds));
for (let round = 0; round < WARM_UP; round += 1) await live(round);
report('before', await holdings());
{
  await using device = await NetDevice.open(address);
  await device.start();
  report('during', await holdings());
}
for (let round = 0; round < Number(rounds); round += 1) await live(round);
report('after', await holdings());
