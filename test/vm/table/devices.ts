/** The table of devices: every kind of card that QEMU can make, and what is expected of the driver on each. */
import type { DeviceRow } from './device-row.js';
import { ADDRESS_ROWS, INTERFACE_ROWS, INTERRUPT_ROWS, PLACE_ROWS, RING_ROWS } from './function-rows.js';
import { FRAME_ROWS, OFFLOAD_ROWS, QUEUE_ROWS, VHOST_ROWS } from './network-rows.js';

export const DEVICES: readonly DeviceRow[] = [
  ...INTERFACE_ROWS,
  ...RING_ROWS,
  ...INTERRUPT_ROWS,
  ...PLACE_ROWS,
  ...FRAME_ROWS,
  ...OFFLOAD_ROWS,
  ...QUEUE_ROWS,
  ...ADDRESS_ROWS,
  ...VHOST_ROWS,
];
