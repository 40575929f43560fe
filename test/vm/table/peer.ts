/**
 * What the cards' programs talk to in the namespace, all of it through the kernel's own sockets:
 *
 * - a TCP sink: takes a stream to its end and answers with its digest, and with how many packets of which size the
 *   kernel saw on the tap
 * - a TCP source: told a length, sends so many random bytes and their digest
 * - UDP flows: told a number, answers from as many ports
 */
import { createHash, randomBytes } from 'node:crypto';
import { createSocket, type RemoteInfo } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { PEER_PORT } from './suite.js';

/** The number of the tap that has a local address: see tapNetwork(). */
function tapOf(localAddress: string): number {
  const v4 = /10\.64\.(\d+)\./.exec(localAddress);
  if (v4 !== null) return Number(v4[1]);
  const v6 = /^fd00:64:([\da-f]+):/.exec(localAddress);
  return Number.parseInt(v6?.[1] ?? '', 16) - 1;
}

/** Packets and bytes that came in through the tap of a local address, as the kernel counts them. */
function tapCounters(localAddress: string): { packets: number; bytes: number } {
  const name = `tap${tapOf(localAddress)}`;
  const line = new RegExp(`^ *${name}: *(\\d+) +(\\d+)`, 'm').exec(readFileSync('/proc/net/dev', 'utf8'));
  return { bytes: Number(line?.[1]), packets: Number(line?.[2]) };
}

async function sink(socket: Socket): Promise<void> {
  const before = tapCounters(socket.localAddress ?? '');
  const hash = createHash('sha256');
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => {
    hash.update(chunk);
    bytes += chunk.length;
  });
  await once(socket, 'end');
  const after = tapCounters(socket.localAddress ?? '');
  const tap = { packets: after.packets - before.packets, bytes: after.bytes - before.bytes };
  socket.end(JSON.stringify({ sha256: hash.digest('hex'), bytes, tap }));
}

const CHUNK = 1 << 20;

async function source(socket: Socket): Promise<void> {
  const [request] = (await once(socket, 'data')) as [Buffer];
  const hash = createHash('sha256');
  const chunk = randomBytes(CHUNK);
  for (let left = Number(request.toString()); left > 0; left -= CHUNK) {
    const bytes = Buffer.from(chunk.subarray(0, Math.min(left, CHUNK)));
    // Chunks differ, so that a lost one shows.
    bytes.writeUInt32LE(left, 0);
    hash.update(bytes);
    if (!socket.write(bytes)) await once(socket, 'drain');
  }
  socket.end(hash.digest());
}

/** A datagram "COUNT LENGTH" is answered by so many, each from a port of its own. */
function flows(message: Buffer, { address, port }: RemoteInfo): void {
  const [count = 0, length = 0] = message.toString().split(' ').map(Number);
  for (let flow = 0; flow < count; flow += 1) {
    const from = createSocket(address.includes(':') ? 'udp6' : 'udp4');
    const datagram = Buffer.alloc(length);
    datagram.writeUInt32BE(flow, 0);
    from.send(datagram, port, address, () => from.close());
  }
}

/** A connection that breaks is the test's to notice. */
function serve(port: number, answer: (socket: Socket) => Promise<void>): void {
  createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    answer(socket).catch(() => socket.destroy());
  }).listen(port, '::');
}

serve(PEER_PORT.sink, sink);
serve(PEER_PORT.source, source);
createSocket({ type: 'udp6', ipv6Only: true }).on('message', flows).bind(PEER_PORT.flows, '::');
createSocket('udp4').on('message', flows).bind(PEER_PORT.flows, '0.0.0.0');
