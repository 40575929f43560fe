/** Checks that need another card of the guest, which they open beside the first. */
import { NetDevice } from 'virtio-net';
import type { Figures, SuiteCard } from '../../../vm/table/suite.js';
import { check, lengthsOf } from './common-checks.js';
import { Station } from './station.js';

/** Opens and starts the second card, and closes it whatever happens. */
export async function withSecond(
  { other }: SuiteCard,
  use: (station: Station) => Promise<Figures>,
): Promise<Figures> {
  if (other === undefined) throw new Error('the row has no second card');
  const device = await NetDevice.open(other.address);
  try {
    await device.start();
    return await use(new Station(device, other.wire, false));
  } finally {
    await device.close();
  }
}

/** Two functions of one group, in one process, at the same time; the first goes on when the second is closed. */
export async function checkSiblings(station: Station, card: SuiteCard): Promise<Figures> {
  const count = 100;
  const lengths = lengthsOf(count);
  await withSecond(card, async (second) => {
    check(second.device.mac !== station.device.mac, 'both functions have one MAC address');
    await second.resolvePeer();
    await Promise.all([station.echo({ lengths, window: 8 }), second.echo({ lengths, window: 8 })]);
    return {};
  });
  await station.echo({ lengths, window: 8 });
  return { echoes: 3 * count };
}
