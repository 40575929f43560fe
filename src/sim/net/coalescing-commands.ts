/** Commands for notification coalescing (VIRTIO 1.3, 5.1.6.5.9). */
import type { CoalescingParameters } from './coalescing.js';
import { breach, viewOver, type Command } from './command.js';
import type { NetState } from './state.js';

const PARAMETERS_LENGTH = 8;

/** TX comes first, though transmit queues have the odd indexes. */
const kindCommands: readonly Command[] = (['TX', 'RX'] as const).map((kind, command) => ({
  name: `VIRTIO_NET_CTRL_NOTF_COAL_${kind}_SET`,
  class: 6,
  command,
  needs: ['VIRTIO_NET_F_NOTF_COAL'],
  run(data, { coalescing }) {
    if (data.length !== PARAMETERS_LENGTH) return 'error';
    coalescing.setKind(kind === 'TX' ? 1 : 0, parametersAt(data, 0));
    return 'ok';
  },
}));

const setQueue: Command = {
  name: 'VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET',
  class: 6,
  command: 2,
  needs: ['VIRTIO_NET_F_VQ_NOTF_COAL'],
  run(data, state) {
    if (data.length !== 4 + PARAMETERS_LENGTH) return 'error';
    state.coalescing.setQueue(enabledQueue(this.name, data, state), parametersAt(data, 4));
    return 'ok';
  },
};

const getQueue: Command = {
  name: 'VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET',
  class: 6,
  command: 3,
  needs: ['VIRTIO_NET_F_VQ_NOTF_COAL'],
  // struct virtio_net_ctrl_coal is part of the data, and the device's to write.
  fills: PARAMETERS_LENGTH,
  run(data, state, room) {
    if (data.length !== 4 || room < 0) return 'error';
    const { maxPackets, maxUsecs } = state.coalescing.parametersOf(enabledQueue(this.name, data, state));
    const result = new Uint8Array(PARAMETERS_LENGTH);
    viewOver(result).setUint32(0, maxPackets, true);
    viewOver(result).setUint32(4, maxUsecs, true);
    return result;
  },
};

function parametersAt(data: Uint8Array, at: number): CoalescingParameters {
  const view = viewOver(data);
  return { maxPackets: view.getUint32(at, true), maxUsecs: view.getUint32(at + 4, true) };
}

/** The queue that the data starts with, which must be an enabled transmit or receive queue. */
function enabledQueue(name: string, data: Uint8Array, { pairCount, surroundings }: NetState): number {
  const queue = viewOver(data).getUint16(0, true);
  if (queue < 2 * pairCount && surroundings.isQueueEnabled(queue)) return queue;
  return breach(`${name} is for queue ${queue}, which is not an enabled transmit or receive queue`);
}

export const COALESCING_COMMANDS: readonly Command[] = [...kindCommands, setQueue, getQueue];
