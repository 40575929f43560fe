/**
 * What was set on a card, so that it can be set again after a reset, which a device forgets everything in.
 */
import { VirtioNetError } from '../../errors.js';
import type { LostSetting } from '../recovery-report.js';

interface Setting {
  readonly name: string;
  readonly apply: () => Promise<unknown>;
}

export class Settings {
  private readonly settings = new Map<string, Setting>();

  /**
   * Keeps a setting, in place of the earlier one of the same key, and behind all others.
   *
   * @param name - in words, for messages
   * @param apply - sets it on the device
   */
  keep(key: string, name: string, apply: () => Promise<unknown>): void {
    this.settings.delete(key);
    this.settings.set(key, { name, apply });
  }

  /** Has a setting, if it is kept, come behind all others. */
  moveBehind(key: string): void {
    const setting = this.settings.get(key);
    if (setting !== undefined) this.keep(key, setting.name, setting.apply);
  }

  forget(key: string): void {
    this.settings.delete(key);
  }

  /** Forgets all whose keys begin so. */
  forgetAll(prefix: string): void {
    for (const key of this.settings.keys()) {
      if (key.startsWith(prefix)) this.settings.delete(key);
    }
  }

  /** Sets one again, if it is kept. */
  async apply(key: string): Promise<void> {
    await this.settings.get(key)?.apply();
  }

  /**
   * Sets everything again, in the order in which it was set; or only that of a key, if it is kept.
   *
   * @returns what could not be set; what the device refused is forgotten
   */
  async restore(only?: string): Promise<LostSetting[]> {
    const lost: LostSetting[] = [];
    for (const [key, { name, apply }] of [...this.settings]) {
      if (only !== undefined && key !== only) continue;
      try {
        await apply();
      } catch (error) {
        lost.push({ setting: name, error: error as Error });
        if (isRefusal(error)) this.settings.delete(key);
      }
    }
    return lost;
  }
}

/** Whether the device has said no, and so goes on as it was. */
export function isRefusal(error: unknown): boolean {
  return error instanceof VirtioNetError && error.code === 'CONTROL_COMMAND_REFUSED';
}
