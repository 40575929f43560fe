import { DeviceError } from '../../errors.js';
import type { Transport } from '../../transport/transport.js';
import type { CommandBody, ControlCommand } from './commands.js';
import type { ControlChannel } from './control-channel.js';

/** Commands to a device that has no control queue, and for which the transport speaks. */
export class DirectControl implements ControlChannel {
  readonly index = undefined;
  private readonly transport: Transport;

  constructor(transport: Transport) {
    this.transport = transport;
  }

  enable(): void {
    // There is no queue.
  }

  /** @throws DeviceError CONTROL_COMMAND_REFUSED, and what the transport throws */
  async command(command: ControlCommand, { data = [] }: CommandBody = {}): Promise<Uint8Array> {
    const { name, class: classNumber, command: number } = command;
    await Promise.resolve();
    if (this.transport.command?.(classNumber, number, concatenate(data)) === true) return new Uint8Array(0);
    throw new DeviceError('CONTROL_COMMAND_REFUSED', `${this.transport.name} can not carry out ${name}`);
  }

  halt(): void {
    // Nobody waits.
  }

  reset(): void {
    // There is no memory.
  }

  free(): void {
    // As above.
  }
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}
