/** Reaching the socket of a backend, and making one for it. */
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NetDevice, type NetDeviceOptions } from '../../../src/index.js';
import { UnixListener, UnixSocket } from '../../../src/native/unix-socket.js';
import { buildShim } from '../../native/build-shim.js';
import { openFileCount } from '../../native/process-state.js';
import { WAIT_MS } from './frames.js';

let folder: string;
let path: string;
let files: number;

beforeEach(() => {
  buildShim();
  folder = mkdtempSync(join(tmpdir(), 'vhost-'));
  path = join(folder, 'a.sock');
  // The shim keeps a file open once it is loaded.
  UnixListener.create(join(folder, 'first.sock')).close();
  files = openFileCount();
});

afterEach(() => {
  expect(openFileCount()).toBe(files);
  rmSync(folder, { recursive: true });
});

const failed = (text: string): object =>
  expect.objectContaining({
    code: 'VHOST_USER_SOCKET_FAILED',
    message: expect.stringContaining(text) as string,
  }) as object;
const invalid = expect.objectContaining({ code: 'OPTION_INVALID' }) as object;

/** Leaves the file of a socket on which nobody listens. */
function leaveSocket(at: string): void {
  UnixListener.create(at).close();
}

/** Whether the other end has sent anything. */
const askedBy = (socket: UnixSocket): boolean => (socket.receive(new Uint8Array(64), []) ?? 0) > 0;

function serve(options: NetDeviceOptions = {}): {
  readonly opening: Promise<NetDevice>;
  readonly giveUp: () => void;
} {
  const abort = new AbortController();
  const opening = NetDevice.open(`vhost-user:${path}`, {
    ...options,
    signal: abort.signal,
    vhostUser: { server: true },
  });
  opening.catch(() => undefined);
  return { opening, giveUp: () => abort.abort(new Error('given up')) };
}

describe('the socket of a backend', () => {
  it('is missed in words', async () => {
    await expect(NetDevice.open(`vhost-user:${path}`)).rejects.toEqual(failed('there is no such file'));
    leaveSocket(path);
    await expect(NetDevice.open(`vhost-user:${path}`)).rejects.toEqual(failed('nobody listens there'));
  });

  it('is told apart from other files, and other sockets', async () => {
    writeFileSync(path, '');
    for (const other of [path, folder, '/dev/null']) {
      await expect(NetDevice.open(`vhost-user:${other}`)).rejects.toEqual(
        failed('what is there is no socket'),
      );
    }
    const loop = join(folder, 'loop');
    symlinkSync(loop, loop);
    for (const nowhere of [join(path, 'below'), loop]) {
      await expect(NetDevice.open(`vhost-user:${nowhere}`)).rejects.toEqual(
        failed('no path leads to a socket'),
      );
    }
  });

  it('has a path that is taken as it is', async () => {
    for (const name of ['a b.sock', '%41.sock', 'a:b.sock', '@a.sock']) {
      path = join(folder, name);
      const { opening, giveUp } = serve();
      await expect.poll(() => existsSync(path), { timeout: WAIT_MS }).toBe(true);
      giveUp();
      await expect(opening).rejects.toThrow('given up');
    }
  });

  it('stays the same where the program goes to another folder', async () => {
    const before = process.cwd();
    const full = path;
    process.chdir(folder);
    path = 'a.sock';
    const { opening, giveUp } = serve();
    try {
      await expect.poll(() => existsSync(full), { timeout: WAIT_MS }).toBe(true);
    } finally {
      process.chdir(before);
    }
    giveUp();
    await expect(opening).rejects.toThrow('given up');
    expect(existsSync(full)).toBe(false);
  });

  it('has a path of a length that a socket can have', async () => {
    for (const bad of ['', 'x'.repeat(108), 'a\0b', 'ü'.repeat(54)]) {
      await expect(NetDevice.open(`vhost-user:${bad}`)).rejects.toEqual(invalid);
    }
  });

  it('goes with no options of cards, and cards with none of its own', async () => {
    const target = `vhost-user:${path}`;
    const wrong: NetDeviceOptions[] = [
      { addressing: 'physical' },
      { pciInterface: 'modern' },
      { interruptMode: 'intx' },
      { maxVectors: 1 },
      { takeOver: true },
      { vhostUser: { timeout: 0 } },
      { vhostUser: { mac: '01:00:00:00:00:01' } },
      { vhostUser: { mtu: 10 } },
      JSON.parse('{ "vhostUser": { "sever": true } }') as NetDeviceOptions,
      JSON.parse('{ "vhostUser": { "server": "yes" } }') as NetDeviceOptions,
      JSON.parse('{ "vhostUser": { "mac": 5 } }') as NetDeviceOptions,
    ];
    for (const options of wrong) await expect(NetDevice.open(target, options)).rejects.toEqual(invalid);
    await expect(NetDevice.open('0000:00:10.0', { vhostUser: {} })).rejects.toEqual(invalid);
  });
});

describe('a socket of ours', () => {
  it('is its owner’s alone, takes the place of one that was left, and goes when nobody waits any more', async () => {
    leaveSocket(path);
    chmodSync(path, 0o777);
    const { opening, giveUp } = serve();
    await expect.poll(() => statSync(path).mode & 0o777, { timeout: WAIT_MS }).toBe(0o600);
    giveUp();
    await expect(opening).rejects.toThrow('given up');
    expect(existsSync(path)).toBe(false);
  });

  it('takes the place of nothing else', async () => {
    writeFileSync(path, 'precious');
    await expect(serve().opening).rejects.toEqual(failed('something else than a socket'));
    expect(readFileSync(path, 'utf8')).toBe('precious');
    rmSync(path);

    const other = join(folder, 'other.sock');
    leaveSocket(other);
    symlinkSync(other, path);
    await expect(serve().opening).rejects.toEqual(failed('something else than a socket'));
    expect(existsSync(other)).toBe(true);
    rmSync(path);

    const server = createServer().listen(path);
    await expect.poll(() => existsSync(path)).toBe(true);
    await expect(serve().opening).rejects.toEqual(failed('another program listens there'));
    await new Promise((resolve) => server.close(resolve));
  });

  it('is not made where it can not be', async () => {
    path = join(folder, 'nowhere', 'a.sock');
    await expect(serve().opening).rejects.toEqual(failed('can not be made'));
    writeFileSync(join(folder, 'file'), '');
    path = join(folder, 'file', 'a.sock');
    await expect(serve().opening).rejects.toEqual(failed('the folder can not be used'));
  });

  it('goes on waiting where somebody only looks whether it is there', async () => {
    const { opening, giveUp } = serve();
    await expect.poll(() => existsSync(path), { timeout: WAIT_MS }).toBe(true);
    // Another program that is to listen there does so.
    await expect(serve().opening).rejects.toEqual(failed('another program listens there'));
    const looking = UnixSocket.connect(path);
    await expect.poll(() => askedBy(looking), { timeout: WAIT_MS }).toBe(true);
    looking.close();
    const next = UnixSocket.connect(path);
    await expect.poll(() => askedBy(next), { timeout: WAIT_MS }).toBe(true);
    next.close();
    giveUp();
    await expect(opening).rejects.toThrow('given up');
  });

  it('is left alone where somebody has put another one in its place', async () => {
    const { opening, giveUp } = serve();
    await expect.poll(() => existsSync(path), { timeout: WAIT_MS }).toBe(true);
    rmSync(path);
    writeFileSync(path, 'other');
    giveUp();
    await expect(opening).rejects.toThrow('given up');
    expect(readFileSync(path, 'utf8')).toBe('other');
  });
});
