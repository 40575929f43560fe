import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { EventFd } from '../../src/native/event-fd.js';
import { buildShim } from './build-shim.js';
import { openFileCount } from './process-state.js';
import { runFixture } from './run-fixture.js';

beforeAll(buildShim);

/** Resolves with the first wake-up. */
function woken(event: EventFd): Promise<void> {
  return new Promise((resolve) => {
    event.listen(resolve);
  });
}

/** Enough turns of the event loop for anything that is due to have run. */
async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await turn();
  await sleep(5);
}

describe('EventFd', () => {
  it('counts signals', () => {
    const event = EventFd.create();
    expect(event.drain()).toBe(0);
    for (let i = 0; i < 3; i++) event.signal();
    expect(event.drain()).toBe(3);
    expect(event.drain()).toBe(0);
    event.close();
  });

  it('is drained without waiting, whatever another process that has it has chosen', async () => {
    const event = EventFd.create();
    // As the standard input of a process it is made one that waits, for all; so that this test ends, it is signalled then.
    const signal = "sleep 1; printf '\\001\\0\\0\\0\\0\\0\\0\\0' >&0";
    const other = spawn('/bin/sh', ['-c', signal], { stdio: [event.fd, 'ignore', 'ignore'] });
    const ended = once(other, 'exit');
    expect(readFileSync(`/proc/self/fdinfo/${event.fd}`, 'utf8')).not.toMatch(/^flags:\s+\d*4\d{3}$/m);
    expect(event.drain()).toBe(0);
    await ended;
    expect(event.drain()).toBe(1);
    event.close();
  });

  it('wakes the event loop up, again and again', async () => {
    const event = EventFd.create();
    for (let i = 0; i < 100; i++) {
      const wakeUp = woken(event);
      event.signal();
      await wakeUp;
    }
    expect(event.drain()).toBe(0);
    event.close();
  });

  it('notices a signal from before listening', async () => {
    const event = EventFd.create();
    event.signal();
    await woken(event);
    event.close();
  });

  it('wakes once for signals that come together', async () => {
    const event = EventFd.create();
    let calls = 0;
    event.listen(() => (calls += 1));
    for (let i = 0; i < 50; i++) event.signal();
    await settle();
    expect(calls).toBe(1);
    event.close();
  });

  it('does not lose a signal from inside the handler', async () => {
    const event = EventFd.create();
    let calls = 0;
    await new Promise<void>((resolve) => {
      event.listen(() => {
        calls += 1;
        if (calls === 10) resolve();
        else event.signal();
      });
      event.signal();
    });
    await settle();
    expect(calls).toBe(10);
    event.close();
  });

  it('keeps waking although garbage is collected', async () => {
    const event = EventFd.create();
    let calls = 0;
    event.listen(() => (calls += 1));
    for (let i = 1; i <= 20; i++) {
      const garbage = Array.from({ length: 50 }, () => new Uint8Array(100_000));
      expect(garbage).toHaveLength(50);
      event.signal();
      await settle();
      expect(calls).toBe(i);
    }
    event.close();
  });

  it('runs promise callbacks of the handler before anything else happens', async () => {
    const event = EventFd.create();
    const order: string[] = [];
    await new Promise<void>((resolve) => {
      event.listen(() => {
        order.push('handler');
        void Promise.resolve().then(() => order.push('promise'));
        setImmediate(() => {
          order.push('immediate');
          resolve();
        });
      });
      event.signal();
    });
    expect(order).toEqual(['handler', 'promise', 'immediate']);
    event.close();
  });

  it('calls no handler after close, not even for a signal that the loop has seen', async () => {
    for (let i = 0; i < 50; i++) {
      const first = EventFd.create();
      const second = EventFd.create();
      let calls = 0;
      const closeBoth = (): void => {
        calls += 1;
        first.close();
        second.close();
      };
      first.listen(closeBoth);
      second.listen(closeBoth);
      first.signal();
      second.signal();
      await settle();
      expect(calls).toBe(1);
    }
  });

  it('can be closed while a signal is pending, and the fd number used anew', async () => {
    let stale = 0;
    for (let i = 0; i < 100; i++) {
      const old = EventFd.create();
      old.listen(() => (stale += 1));
      old.signal();
      const { fd } = old;
      old.close();
      const next = EventFd.create();
      expect(next.fd).toBe(fd);
      const wakeUp = woken(next);
      next.signal();
      await wakeUp;
      next.close();
    }
    expect(stale).toBe(0);
  });

  it('refuses use after close, but not a second close', () => {
    const event = EventFd.create();
    event.close();
    event.close();
    expect(() => event.signal()).toThrow(RangeError);
    expect(() => event.drain()).toThrow(RangeError);
    expect(() => event.listen(() => undefined)).toThrow(RangeError);
  });

  it('leaks no file over 1000 rounds', async () => {
    const before = openFileCount();
    for (let i = 0; i < 1000; i++) {
      const event = EventFd.create();
      event.listen(() => undefined);
      event.signal();
      event.close();
    }
    await settle();
    expect(openFileCount()).toBe(before);
  });

  it('goes on after a handler has thrown', () => {
    const { status, stdout } = runFixture('throwing-handler.ts');
    expect(stdout).toBe('uncaught 1\nuncaught 2\nuncaught 3\n');
    expect(status).toBe(0);
  });

  it.each([
    ['exit', 7],
    ['unref', 7],
    ['throw', 1],
  ])('lets the process end while polls are open: %s', (how, code) => {
    const { status, signal, stdout } = runFixture('exit-while-polling.ts', [how]);
    expect({ status, signal, stdout }).toEqual({ status: code, signal: null, stdout: '4096\n' });
  });

  it('leaves no file open in a worker that ends without closing', () => {
    expect(runFixture('worker-files.ts')).toEqual({ status: 0, signal: null, stdout: '0\n', stderr: '' });
  });

  it('works in workers, and lets them end while polls are open', () => {
    const { status, signal, stdout, stderr } = runFixture('worker-rounds.ts');
    expect({ status, signal, stdout, stderr }).toEqual({
      status: 0,
      signal: null,
      stdout: 'done\n',
      stderr: '',
    });
  });
});
