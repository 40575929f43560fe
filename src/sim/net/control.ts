/** The control queue's work: takes commands, carries them out, answers (VIRTIO 1.3, 5.1.6.5). */
import type { Chain } from '../chain.js';
import type { DeviceQueue } from '../device-queue.js';
import { DriverViolation } from '../violation.js';
import { COALESCING_COMMANDS } from './coalescing-commands.js';
import type { Answer, Command } from './command.js';
import { checkCommandFraming } from './framing.js';
import { MQ_COMMANDS } from './mq-commands.js';
import { RX_COMMANDS } from './rx-commands.js';
import type { NetState } from './state.js';
import { STATS_COMMANDS } from './stats-commands.js';

const ACK_OK = 0;
const ACK_ERROR = 1;
const NOTHING = new Uint8Array(0);

const COMMANDS: ReadonlyMap<number, Command> = new Map(
  [...RX_COMMANDS, ...MQ_COMMANDS, ...COALESCING_COMMANDS, ...STATS_COMMANDS].map((one) => [
    keyOf(one.class, one.command),
    one,
  ]),
);

/** A command as it came. */
export interface ControlCommand {
  /** Its name in the specification; undefined if it has none. */
  readonly name: string | undefined;
  readonly class: number;
  readonly command: number;
  /** A copy of the command-specific-data. */
  readonly data: Uint8Array;
}

/** What is to become of a command: it is refused, it is never answered, or (undefined) carried out. */
export type CommandVerdict = 'refuse' | 'silence' | undefined;

/** Sees each command before the device carries it out, and may keep it from that. */
export type CommandListener = (command: ControlCommand) => CommandVerdict;

export class Controller {
  readonly #queue: DeviceQueue;
  readonly #state: NetState;
  readonly #verdictOn: (command: ControlCommand) => CommandVerdict;

  constructor(queue: DeviceQueue, state: NetState, verdictOn: (command: ControlCommand) => CommandVerdict) {
    this.#queue = queue;
    this.#state = state;
    this.#verdictOn = verdictOn;
  }

  /**
   * Carries out all commands that are available.
   *
   * @param publish - shows the driver what was answered
   * @throws DriverViolation once the command by which the driver broke a rule was answered
   */
  take(publish: () => void): void {
    do {
      for (let chain = this.#queue.take(); chain !== undefined; chain = this.#queue.take()) {
        this.#answer(chain, publish);
      }
    } while (this.#queue.armNotifications());
  }

  #answer(chain: Chain, publish: () => void): void {
    if (chain.readable.length < 2 || chain.writableLength < 1) {
      const lengths = `${chain.readable.length} bytes to read and ${chain.writableLength} to write`;
      throw new DriverViolation(
        `the command of ${chain.name} has ${lengths}, but at least 2 and 1 are needed`,
      );
    }
    const { commands } = this.#state;
    commands.count++;
    const command = commandIn(chain);
    const verdict = this.#verdictOn(command);
    const fills = COMMANDS.get(keyOf(command.class, command.command))?.fills ?? 0;
    if (verdict === 'silence') return;
    let answer: Answer = 'error';
    try {
      if (verdict !== 'refuse') answer = this.#execute(chain, command);
      if (answer !== 'error') commands.done++;
    } finally {
      this.#queue.complete(chain, bytesOf(answer, chain.writableLength, fills));
      publish();
    }
  }

  #execute(chain: Chain, { class: commandClass, command, data }: ControlCommand): Answer {
    const found = COMMANDS.get(keyOf(commandClass, command));
    if (found === undefined) return 'error';
    const { rules } = this.#state;
    const lacking = found.needs.find((feature) => !rules.has(feature));
    if (lacking !== undefined)
      throw new DriverViolation(`${found.name} was issued, but ${lacking} was not negotiated`);
    if (!rules.anyLayout) {
      const lengths = found.framing?.(data) ?? [data.length];
      checkCommandFraming(found.name, chain.readableSegments, chain.writableSegments, lengths);
    }
    return found.run(data, this.#state, chain.writableLength - 1 - (found.fills ?? 0));
  }
}

function keyOf(commandClass: number, command: number): number {
  return (commandClass << 8) | command;
}

function commandIn({ readable }: Chain): ControlCommand {
  const [commandClass, command] = readable;
  const name = COMMANDS.get(keyOf(commandClass, command))?.name;
  return { name, class: commandClass, command, data: readable.slice(2) };
}

/** What the device fills in, the ack byte, and as much of the result as there is room for. */
function bytesOf(answer: Answer, room: number, fills: number): Uint8Array {
  const given = typeof answer === 'string' ? NOTHING : answer;
  const result = given.subarray(fills);
  const bytes = new Uint8Array(Math.min(room, fills + 1 + result.length));
  bytes.set(given.subarray(0, Math.min(fills, bytes.length)));
  if (fills < bytes.length) bytes[fills] = answer === 'error' ? ACK_ERROR : ACK_OK;
  bytes.set(result.subarray(0, Math.max(0, bytes.length - fills - 1)), Math.min(fills + 1, bytes.length));
  return bytes;
}
