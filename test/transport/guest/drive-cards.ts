/** In the guest: sends and receives through cards that differ in how their transport reaches and hears them. */
import { readFileSync } from 'node:fs';
import { NetDevice, type NetDeviceOptions } from '../../../src/index.js';
import {
  ARP_OPERATION,
  ETHER_TYPE,
  readArp,
  readEthernet,
  writeArp,
  writeEthernet,
} from '../../../src/packet/index.js';
import { failureOf, report } from '../../vm/guest/report.js';

interface Card {
  readonly name: string;
  readonly address: string;
  readonly options?: NetDeviceOptions;
}

const GATEWAY = Uint8Array.of(10, 0, 2, 2);
const OURS = Uint8Array.of(10, 0, 2, 15);
const BROADCAST = new Uint8Array(6).fill(0xff);
const FRAME_BYTES = 60;
const ROUNDS = 20;

/** How the kernel delivers the interrupts of a card: how many vectors of MSI-X, or INTx. */
function deliveryOf(address: string): string {
  const lines = readFileSync('/proc/interrupts', 'utf8').split('\n');
  const own = lines.filter((line) => line.includes(`(${address})`));
  if (own.some((line) => line.includes('vfio-intx'))) return 'INTx';
  return `${own.filter((line) => line.includes('vfio-msix')).length} vectors`;
}

function whoHasGateway(device: NetDevice): Uint8Array {
  const frame = new Uint8Array(FRAME_BYTES);
  const at = writeEthernet(frame, 0, {
    destination: BROADCAST,
    source: device.macBytes,
    etherType: ETHER_TYPE.ARP,
  });
  writeArp(frame, at, {
    operation: ARP_OPERATION.REQUEST,
    senderMac: device.macBytes,
    senderIp: OURS,
    targetMac: new Uint8Array(6),
    targetIp: GATEWAY,
  });
  return frame;
}

function isAnswer(frame: Uint8Array): boolean {
  const ethernet = readEthernet(frame);
  if (ethernet?.etherType !== ETHER_TYPE.ARP) return false;
  return readArp(frame, ethernet.payloadOffset)?.operation === ARP_OPERATION.REPLY;
}

/** Asks for the gateway again and again, each time after the answer has come by an interrupt. */
async function askRepeatedly(device: NetDevice): Promise<number> {
  const frames = device.frames({ signal: AbortSignal.timeout(20_000) });
  let answers = 0;
  await device.send(whoHasGateway(device));
  for await (const packet of frames) {
    if (!isAnswer(packet.frame)) continue;
    answers += 1;
    if (answers === ROUNDS) break;
    await device.send(whoHasGateway(device));
  }
  return answers;
}

async function drive({ name, address, options }: Card): Promise<void> {
  let transport: unknown;
  const note = (fields: object): void => {
    if ('transport' in fields) ({ transport } = fields);
  };
  const quiet = (): void => undefined;
  const logger = { trace: quiet, debug: quiet, info: note, warn: quiet, error: quiet, fatal: quiet };
  const device = await NetDevice.open(address, { ...options, logger });
  try {
    await device.start();
    const delivery = deliveryOf(address);
    const answers = await askRepeatedly(device);
    await device.stop();
    await device.start();
    const again = await askRepeatedly(device);
    const { interrupts } = device.statistics();
    report(name, { transport, delivery, answers: answers + again, heard: interrupts.receive > 0 });
  } finally {
    await device.close();
  }
}

for (const card of JSON.parse(process.argv[2] ?? '[]') as Card[]) {
  const failure = await failureOf(drive(card));
  if (failure !== null) report(card.name, failure);
}
