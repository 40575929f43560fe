/** How commands reach a device: by its control queue, or through the transport. */
import type { CommandBody, ControlCommand } from './commands.js';

export interface ControlChannel {
  /** Number of the control queue at the device; undefined where there is none. */
  readonly index: number | undefined;
  /** Tells the device of the channel. Commands may be sent once the device was told to go. */
  enable(): void;
  /**
   * Sends a command, when those that were given before are done.
   *
   * @returns what the device filled in, followed by the result, as far as it wrote one
   * @throws DeviceError CONTROL_COMMAND_REFUSED and others
   */
  command(command: ControlCommand, body?: CommandBody): Promise<Uint8Array>;
  /** Ends all waiting. The device may still use the memory. */
  halt(reason?: Error): void;
  /** Takes the memory back from a device that was reset. */
  reset(): void;
  /** Gives all memory back. The device must have been reset. */
  free(): void;
}
