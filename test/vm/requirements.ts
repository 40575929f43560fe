/** What a machine must have for the VM to run on it. */
import { findProgram, VM_PROGRAMS } from '../tools/programs.mjs';
import { VmError } from './vm-error.js';

/** Why the VM can not run on this machine, in a sentence; undefined if it can. */
export function whyVmUnavailable(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return `The test VM needs Linux on x64, and this is ${process.platform} on ${process.arch}.`;
  }
  const missing = Object.keys(VM_PROGRAMS).filter((program) => findProgram(program) === undefined);
  if (missing.length === 0) return undefined;
  return `The test VM needs ${missing.join(', ')}. Run: node test/tools/ensure.mjs vm`;
}

/** @throws VmError VM_UNAVAILABLE */
export function requireVm(): void {
  const why = whyVmUnavailable();
  if (why !== undefined) throw new VmError('VM_UNAVAILABLE', why);
}
