/** On which processors this process, and what it starts, may run. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { BenchError } from '../bench-error.js';

function setProcessors(list: string): void {
  const { status, stderr } = spawnSync('taskset', ['-apc', list, String(process.pid)], { encoding: 'utf8' });
  if (status !== 0) throw new BenchError(`taskset could not choose processor ${list}: ${stderr.trim()}`);
}

/** Does something with this process, and all that it starts meanwhile, on one processor. */
export async function onProcessor<Result>(processor: number, action: () => Promise<Result>): Promise<Result> {
  const status = readFileSync('/proc/self/status', 'utf8');
  const before = /^Cpus_allowed_list:\s*(.*)$/m.exec(status)?.[1] ?? '';
  setProcessors(String(processor));
  try {
    return await action();
  } finally {
    setProcessors(before);
  }
}
