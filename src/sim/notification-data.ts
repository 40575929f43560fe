/** What a notification carries besides the number of the queue (VIRTIO 1.3, 2.9). */
import { DriverViolation } from './violation.js';

/** A notification of available buffers. */
export interface Notification {
  /** What came with it; undefined for nothing. */
  readonly data: number | undefined;
  /** Whether it was on its way for a while, so that the position that it carries may have been passed. */
  readonly late: boolean;
}

/**
 * Checks the data of a notification.
 *
 * @param negotiated - whether VIRTIO_F_NOTIFICATION_DATA was
 * @param expected - gives what it must be: next_off in the low 15 bits, next_wrap above
 * @throws DriverViolation
 */
export function checkNotificationData(
  negotiated: boolean,
  { data, late }: Notification,
  expected: () => number,
): void {
  if (!negotiated) {
    if (data === undefined) return;
    throw new DriverViolation(
      `a notification carried ${data}, but VIRTIO_F_NOTIFICATION_DATA was not negotiated`,
    );
  }
  if (data === undefined) {
    throw new DriverViolation(
      'a notification carried no position, but VIRTIO_F_NOTIFICATION_DATA was negotiated',
    );
  }
  if (late) return;
  const position = expected();
  if (data === position) return;
  throw new DriverViolation(
    `a notification carried ${describe(data)}, but the next available position is ${describe(position)}`,
  );
}

function describe(data: number): string {
  return `next_off ${data & 0x7fff} with next_wrap ${data >>> 15}`;
}
