import { describe, expect, it } from 'vitest';
import { ArgumentError, parseArguments } from './arguments.js';
import { planNics, type VmIommu } from './nic.js';
import { DEFAULT_TIMEOUT_SECONDS } from './run-vm.js';
import { quoteWords } from './shell.js';
import { VmError } from './vm-error.js';

describe('the command line of npm run vm', () => {
  it('takes a command alone, and decides nothing about the cards', () => {
    expect(parseArguments(['--', 'ls'])).toEqual({
      nics: undefined,
      iommu: true,
      timeoutSeconds: DEFAULT_TIMEOUT_SECONDS,
      command: 'ls',
    });
  });

  it('keeps the words of a command apart, options of the command among them', () => {
    expect(parseArguments(['--', 'ls', '-l', '--help', 'a b'])).toMatchObject({
      command: ['ls', '-l', '--help', 'a b'],
    });
    expect(parseArguments(['ls', '--timeout=x'])).toMatchObject({ command: ['ls', '--timeout=x'] });
  });

  it('takes every option', () => {
    const words = [
      '--iommu=off',
      '--nic=packed=on,mq=on',
      '--netdev=hubport,hubid=0',
      '--nic=',
      '--timeout=1.5',
    ];
    expect(parseArguments([...words, '--', 'ls'])).toMatchObject({
      iommu: false,
      timeoutSeconds: 1.5,
      nics: [{ properties: 'packed=on,mq=on', netdev: 'hubport,hubid=0' }, { properties: '' }],
    });
  });

  it.each([['--help'], ['-h'], ['--nic=x', '--help', '--', 'ls']])('gives help for %s', (...words) => {
    expect(parseArguments(words)).toBe('help');
  });

  it.each([
    [[], /no command/],
    [['--'], /no command/],
    [['--', ''], /no command/],
    [['--bogus=1', '--', 'ls'], /--bogus is not an option/],
    [['-x', 'ls'], /-x is not an option/],
    [['--iommu=maybe', 'ls'], /on, off or noiommu/],
    [['--iommu', 'ls'], /needs a value/],
    [['--timeout=0', 'ls'], /above 0/],
    [['--timeout=-3', 'ls'], /above 0/],
    [['--timeout=soon', 'ls'], /above 0/],
    [['--timeout=99999999', 'ls'], /number of seconds/],
    [['--netdev=user', 'ls'], /behind the --nic/],
    [['--nic=', '--netdev=', 'ls'], /no backend/],
  ])('refuses %j', (words, message) => {
    expect(() => parseArguments(words)).toThrow(ArgumentError);
    expect(() => parseArguments(words)).toThrow(message);
  });
});

describe('the plan of the cards', () => {
  const plan = (properties: string, iommu: VmIommu = 'intel') => planNics([{ properties }], iommu, '/tmp')[0];
  const device = (properties: string, iommu: VmIommu = 'intel') =>
    plan(properties, iommu).qemuArguments.at(-1);

  it('puts cards at 10.0, 11.0 and so on', () => {
    expect(planNics([{}, {}, {}], 'intel', '/tmp').map((nic) => nic.address)).toEqual([
      '0000:00:10.0',
      '0000:00:11.0',
      '0000:00:12.0',
    ]);
  });

  it.each([
    ['addr=0x15', '0000:00:15.0'],
    ['addr=1d.3', '0000:00:1d.3'],
    ['addr=5', '0000:00:05.0'],
  ])('follows %s', (properties, address) => {
    expect(plan(properties).address).toBe(address);
  });

  it.each(['addr=99', 'addr=', 'bus=port0'])(
    'refuses %s, whose address in the guest it can not tell',
    (text) => {
      expect(() => plan(text)).toThrow(VmError);
    },
  );

  it('asks for a card behind the vIOMMU unless the properties say otherwise', () => {
    expect(device('mq=on')).toContain('iommu_platform=on,disable-legacy=on,mq=on');
    expect(device('iommu_platform=off')).toContain('iommu_platform=off,disable-legacy=on');
    expect(device('disable-modern=on')).not.toMatch(/iommu_platform|disable-legacy/);
    expect(device('', 'none')).not.toMatch(/iommu_platform|disable-legacy/);
  });

  it('keeps a doubled comma inside of a value', () => {
    expect(device('romfile=a,,b')).toContain('romfile=a,,b,');
  });

  it('binds to vfio-pci only where VFIO can take the card, unless told what to do', () => {
    const drivers = (iommu: VmIommu) =>
      planNics([{}, { bind: true }, { bind: false }, { bind: 'none' }], iommu, '/tmp').map(
        (nic) => nic.driver,
      );
    expect(drivers('intel')).toEqual(['vfio-pci', 'vfio-pci', 'virtio-pci', 'none']);
    expect(drivers('none')).toEqual(['none', 'vfio-pci', 'virtio-pci', 'none']);
    expect(drivers('noiommu')).toEqual(['vfio-pci', 'vfio-pci', 'virtio-pci', 'none']);
  });

  it('connects the card to its backend and records what crosses between them', () => {
    const [nic] = planNics([{ netdev: 'hubport,hubid=3', dump: true }], 'intel', '/tmp/a,b');
    expect(nic.qemuArguments.slice(0, 4)).toEqual([
      '-netdev',
      'hubport,id=net0,hubid=3',
      '-object',
      'filter-dump,id=dump0,netdev=net0,maxlen=65536,file=/tmp/a,,b/nic0.pcap',
    ]);
    expect(nic.dumpFile).toBe('/tmp/a,b/nic0.pcap');
  });
});

describe('quoteWords', () => {
  it('quotes what a shell would take apart', () => {
    expect(quoteWords(['echo', 'a b', "it's", '', '$x', '--n=1'])).toBe(
      "echo 'a b' 'it'\\''s' '' '$x' --n=1",
    );
  });
});
