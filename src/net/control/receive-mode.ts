/** Receive modes (VIRTIO 1.3, 5.1.6.5.1). */
import { requireBoolean, requireFields } from '../arguments.js';
import type { FeatureName } from '../feature-table.js';
import { COMMANDS, type ControlCommand } from './commands.js';

/** Which frames the card receives whatever their destination, and which not at all. What is not given stays as it is. */
export interface ReceiveMode {
  /** All frames; goes before all other modes. */
  readonly promiscuous?: boolean;
  /** All multicast frames. */
  readonly allMulticast?: boolean;
  /** All unicast frames. Needs VIRTIO_NET_F_CTRL_RX_EXTRA, as those below. */
  readonly allUnicast?: boolean;
  /** No multicast frames; does not apply to broadcasts. */
  readonly noMulticast?: boolean;
  readonly noUnicast?: boolean;
  readonly noBroadcast?: boolean;
}

export interface ReceiveModeCommand {
  readonly command: ControlCommand;
  readonly feature: FeatureName;
}

/** Each mode's command, in the order in which they are issued. */
export const RECEIVE_MODES = {
  promiscuous: { command: COMMANDS.RX_PROMISC, feature: 'VIRTIO_NET_F_CTRL_RX' },
  allMulticast: { command: COMMANDS.RX_ALLMULTI, feature: 'VIRTIO_NET_F_CTRL_RX' },
  allUnicast: { command: COMMANDS.RX_ALLUNI, feature: 'VIRTIO_NET_F_CTRL_RX_EXTRA' },
  noMulticast: { command: COMMANDS.RX_NOMULTI, feature: 'VIRTIO_NET_F_CTRL_RX_EXTRA' },
  noUnicast: { command: COMMANDS.RX_NOUNI, feature: 'VIRTIO_NET_F_CTRL_RX_EXTRA' },
  noBroadcast: { command: COMMANDS.RX_NOBCAST, feature: 'VIRTIO_NET_F_CTRL_RX_EXTRA' },
} as const satisfies Record<keyof ReceiveMode, ReceiveModeCommand>;

/**
 * From JavaScript anything may come; a mode whose name is misspelt would never be set.
 *
 * @throws UsageError OPTION_INVALID
 */
export function checkReceiveMode(mode: ReceiveMode): void {
  requireFields('The receive mode', mode, Object.keys(RECEIVE_MODES));
  for (const [name, value] of Object.entries<unknown>({ ...mode })) {
    if (value !== undefined) requireBoolean(`Receive mode ${name}`, value);
  }
}
