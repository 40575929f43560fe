/** The command lines of what is measured, so that a reader can run it by hand. */
import { quoteWords } from '../../test/vm/shell.js';
import type { Processors } from '../lib/processors.js';
import type { Command } from '../result.js';
import { CASES, vhostDevices, virtioUser, type RingShape } from './cases.js';
import { ownWords } from './contender.js';
import { DPDK, DPDK_VECTORIZED, OWN, peerArguments } from './rig.js';
import { testpmdLine } from './testpmd.js';

const SOCKETS = ['/tmp/0.sock', '/tmp/1.sock', '/tmp/2.sock', '/tmp/3.sock'];
const SHAPE: RingShape = { packed: true, inOrder: true, mergeable: false };

export function commandLines(processors: Processors, vectorized: boolean): Command[] {
  const here = { processor: processors.driver, idleProcessor: processors.backend };
  const peer = (isVectorized: boolean): string => {
    const devices = [virtioUser(SOCKETS[Number(isVectorized)], SHAPE, isVectorized)];
    return testpmdLine({ ...here, devices, more: peerArguments(isVectorized) });
  };
  const backend = {
    processor: processors.backend,
    idleProcessor: processors.driver,
    devices: vhostDevices(SOCKETS),
  };
  return [
    { name: 'Backend', line: testpmdLine(backend) },
    { name: `${DPDK}, here with packed rings and in order`, line: peer(false) },
    ...(vectorized ? [{ name: `${DPDK_VECTORIZED}, the same`, line: peer(true) }] : []),
    {
      name: `${OWN}, which runs while \`run MILLISECONDS\` on its standard input says so`,
      line: ownLine(processors),
    },
    ...CASES.map((traffic) => ({
      name: `At the prompts of backend and driver, for ${traffic.name} of 64 bytes`,
      line: [
        ...[`set fwd ${traffic.backendMode}`, `set txpkts ${64 + traffic.extraLength}`, 'set portlist 0'],
        ...[traffic.start, `# The driver: set fwd ${traffic.peerMode}`, '# set txpkts 64', '# start'],
      ].join('\n'),
    })),
  ];
}

function ownLine({ driver }: Processors): string {
  const words = ownWords({ socket: SOCKETS[2], shape: SHAPE, mode: 'receive', size: 64 });
  return quoteWords(['taskset', '-c', String(driver), 'node', '.cache/bench/frames.mjs', ...words.slice(2)]);
}
