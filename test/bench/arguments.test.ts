import { describe, expect, it } from 'vitest';
import { parseArguments } from '../../bench/arguments.js';
import { BenchError } from '../../bench/bench-error.js';

describe('the command line of the benchmark', () => {
  it('measures everything in five rounds, and saves the results, unless told otherwise', () => {
    expect(parseArguments([])).toEqual({
      quick: false,
      only: [],
      rounds: 5,
      save: true,
      output: undefined,
      action: 'run',
    });
  });

  it('takes several sections, a number of rounds, and leaves the files alone on request', () => {
    const words = ['--only', 'dpdk', '--only=vm', '--rounds', '9', '--no-save'];
    expect(parseArguments(words)).toEqual({
      quick: false,
      only: ['dpdk', 'vm'],
      rounds: 9,
      save: false,
      output: undefined,
      action: 'run',
    });
  });

  it('does not save what a quick run gives', () => {
    expect(parseArguments(['--quick'])).toMatchObject({ quick: true, save: false });
  });

  it('writes to another file instead of those of the repository', () => {
    expect(parseArguments(['--output', 'x.json'])).toMatchObject({ output: 'x.json', save: false });
  });

  it.each([
    ['--list', 'list'],
    ['--render', 'render'],
    ['--help', 'help'],
  ])('%s', (word, action) => {
    expect(parseArguments([word]).action).toBe(action);
  });

  it.each([['--rounds=0'], ['--rounds=many'], ['--rounds=102'], ['--fast'], ['dpdk'], ['--only']])(
    'refuses %s and says how it is used',
    (word) => {
      expect(() => parseArguments([word])).toThrow(BenchError);
      expect(() => parseArguments([word])).toThrow('Usage: npm run bench');
    },
  );
});
