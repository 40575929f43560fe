/** `npm run vm`: runs a command in a guest. See arguments.ts for its command line. */
import { spawnSync } from 'node:child_process';
import { ArgumentError, parseArguments, USAGE, type VmArguments } from './arguments.js';
import { inRepository } from './paths.js';
import { showProgress } from './progress.js';
import { runVm } from './run-vm.js';
import { VmError } from './vm-error.js';

const USAGE_STATUS = 2;
const VM_FAILED_STATUS = 125;
/** By convention a program that a signal ended has 128 and the signal's number as its status. */
const SIGNAL_STATUS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;
const SIGPIPE_STATUS = 141;

const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** Aborts on a signal, or when nobody reads the output any more. Gives the status to end with, once that was so. */
function abortWhenUnwanted(controller: AbortController): () => number | undefined {
  let status: number | undefined;
  const abortWith = (value: number): void => {
    status ??= value;
    controller.abort();
  };
  for (const [name, value] of Object.entries(SIGNAL_STATUS)) process.on(name, () => abortWith(value));
  process.stdout.on('error', () => abortWith(SIGPIPE_STATUS));
  return () => status;
}

async function run({ nics, ...options }: VmArguments): Promise<number> {
  const controller = new AbortController();
  const unwantedStatus = abortWhenUnwanted(controller);
  try {
    const result = await runVm({
      ...options,
      ...(nics === undefined ? {} : { nics }),
      signal: controller.signal,
      onOutput: (chunk) => void process.stdout.write(chunk),
      onProgress: showProgress,
    });
    if (result.timedOut) say(`The command did not end within ${options.timeoutSeconds} seconds.`);
    return result.status;
  } catch (error) {
    const status = unwantedStatus();
    if (status !== undefined) return status;
    if (!(error instanceof VmError)) throw error;
    say(error.message);
    return VM_FAILED_STATUS;
  }
}

/** Installs and builds what is missing, once it is known what for. */
function setUp(): boolean {
  const ensure = [inRepository('test/tools/ensure.mjs'), 'shim', 'build', 'vm'];
  const { status, signal } = spawnSync(process.execPath, ensure, { stdio: ['ignore', 'ignore', 'inherit'] });
  // Ctrl-C reaches both processes: this one ends as it would have without the other.
  if (signal !== null) process.kill(process.pid, signal);
  return status === 0;
}

async function main(): Promise<number> {
  const parsed = parseArguments(process.argv.slice(2));
  if (parsed === 'help') {
    process.stdout.write(USAGE);
    return 0;
  }
  return setUp() ? run(parsed) : VM_FAILED_STATUS;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof ArgumentError)) throw error;
  say(error.message);
  process.exitCode = USAGE_STATUS;
}
