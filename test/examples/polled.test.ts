/** examples/rx-count, pktgen and forward as they are run: programs of their own, with the software device. */
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { startExample, totals } from './start-example.js';

const RATES = /^simulated: rx \d+\.\d{3} Mpps \d+\.\d{3} Gbit\/s, tx \d+\.\d{3} Mpps \d+\.\d{3} Gbit\/s$/;

describe.concurrent('the polled examples', () => {
  it.each([
    ['rx-count sim --count 1000', [[1000, 64_000, 0, 0]]],
    ['rx-count sim --count 1 --burst 1024', [[1, 64, 0, 0]]],
    ['pktgen sim --count 1001', [[0, 0, 1001, 64_064]]],
    ['pktgen sim --count 500 --size 1514 --burst 7 --to ff:ff:ff:ff:ff:ff', [[0, 0, 500, 757_000]]],
    ['forward sim --count 1000', [[1000, 64_000, 1000, 64_000]]],
  ])('count what they are told: %s', async (commandLine, expected) => {
    const { status, stdout, stderr } = await startExample(commandLine).ended;
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(totals(stdout)).toEqual(expected);
  });

  it('forward what one device receives by the other, and back', async () => {
    const { status, stdout, stderr } = await startExample('forward sim sim --count 3000').ended;
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const [one, other] = totals(stdout);
    expect(one.slice(0, 2)).toEqual(other.slice(2));
    expect(other.slice(0, 2)).toEqual(one.slice(2));
    expect(one[0] + other[0]).toBe(3000);
    expect(Math.min(one[0], other[0])).toBeGreaterThan(0);
  });

  it.each(['rx-count sim', 'pktgen sim', 'forward sim', 'forward sim sim'])(
    'print rates, and end cleanly on Ctrl-C: %s',
    async (commandLine) => {
      const { program, ended } = startExample(commandLine);
      await once(program.stdout, 'data');
      program.kill('SIGINT');
      // The software device keeps a program running that does not close it.
      const { status, stdout, stderr } = await ended;
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(stdout.split('\n')[0]).toMatch(RATES);
      for (const numbers of totals(stdout)) expect(Math.max(...numbers)).toBeGreaterThan(0);
      expect(totals(stdout)).toHaveLength(commandLine.split(' ').length - 1);
    },
  );

  it('end when nobody reads what they print', async () => {
    const { program, ended } = startExample('rx-count sim');
    await once(program.stdout, 'data');
    program.stdout.destroy();
    expect(await ended).toMatchObject({ status: 0, stderr: '' });
  });

  it.each([
    ['rx-count', /^rx-count: usage: rx-count\.ts <device>/],
    ['pktgen sim sim', /^pktgen: usage: pktgen\.ts <device>/],
    ['forward sim sim sim', /^forward: usage: forward\.ts <device> \[<device>\]/],
    ['rx-count sim --bogus', /^rx-count: Unknown option '--bogus'/],
    ['rx-count sim --burst 0', /^rx-count: --burst '0' is not a whole number from 1 to 1024$/],
    ['rx-count sim --burst 1e2', /^rx-count: --burst '1e2' is not/],
    ['forward sim --count x', /^forward: --count 'x' is not a whole number/],
    ['pktgen sim --size 13', /^pktgen: --size '13' is not a whole number from 14/],
    ['pktgen sim --size 1515', /^pktgen: A frame of 1515 bytes can not be sent/],
    ['pktgen sim --to nowhere', /^pktgen: "nowhere" is not a MAC address/],
    ['rx-count nowhere', /^rx-count: .*nowhere/],
    ['forward sim 0000:ff:1f.7', /^forward: .*0000:ff:1f\.7/],
  ])('say in one line what is wrong: %s', async (commandLine, message) => {
    const { status, stderr } = await startExample(commandLine).ended;
    expect(status, stderr).toBe(2);
    expect(stderr.trimEnd()).toMatch(message);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });
});
