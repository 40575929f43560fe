import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { describeVm } from './describe-vm.js';
import { bundleProgram } from './guest-programs.js';
import { inRepository } from './paths.js';
import { readFrames } from './pcap.js';
import { runVm, type VmOptions } from './run-vm.js';
import { VmError } from './vm-error.js';

/** The QEMU processes whose parent is this process. */
function ownQemus(): string[] {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').split(' ');
  const names = children
    .filter((pid) => pid !== '')
    .map((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim());
  return names.filter((name) => name.startsWith('qemu') || name === 'setpriv');
}

async function failureOf(options: VmOptions): Promise<VmError> {
  const error: unknown = await runVm(options).catch((reason: unknown) => reason);
  if (error instanceof VmError) return error;
  throw new Error(`expected a VmError, got ${String(error)}`);
}

describeVm('a VM', () => {
  it('binds each card to vfio-pci, in an IOMMU group of its own', async () => {
    const command = `for nic in 0000:00:10.0 0000:00:11.0; do
      cd /sys/bus/pci/devices/$nic
      driver=$(readlink driver) group=$(readlink iommu_group)
      echo "$nic $(cat vendor device | tr '\\n' ' ')\${driver##*/}"
      test -c "/dev/vfio/\${group##*/}" && echo "group \${group##*/}"
    done`;
    const { status, output } = await runVm({ command, nics: [{}, {}] });
    expect(status).toBe(0);
    const [first, firstGroup, second, secondGroup] = output.split('\n');
    expect([first, second]).toEqual([
      '0000:00:10.0 0x1af4 0x1041 vfio-pci',
      '0000:00:11.0 0x1af4 0x1041 vfio-pci',
    ]);
    expect(firstGroup).toMatch(/^group \d+$/);
    expect(secondGroup).toMatch(/^group \d+$/);
    expect(secondGroup).not.toBe(firstGroup);
  });

  it('streams what the command writes, byte for byte, and ends what it left running', async () => {
    const chunks: Buffer[] = [];
    const lines: string[] = [];
    const command = [
      'sh',
      '-c',
      'echo one; echo two >&2; seq 20000; printf "a\\tb\\r\\n%s" "$1"; sleep 9999 &',
    ];
    const { status, output } = await runVm({
      command: [...command, 'sh', 'é$x'],
      onOutput: (chunk) => chunks.push(chunk),
      onLine: (line) => {
        if (lines.length === 0) expect(ownQemus()).toHaveLength(1);
        lines.push(line);
      },
    });
    const numbers = Array.from({ length: 20000 }, (_, index) => String(index + 1));
    expect(output).toBe(`one\ntwo\n${numbers.join('\n')}\na\tb\r\né$x`);
    expect(status).toBe(0);
    expect(Buffer.concat(chunks).toString()).toBe(output);
    expect(chunks.length).toBeGreaterThan(1);
    expect(lines.slice(0, 3)).toEqual(['one', 'two', '1']);
    expect(lines.at(-1)).toBe('é$x');
  });

  it.each([3, 255])('gives the exit status %i', async (status) => {
    expect(await runVm({ command: `exit ${status}`, nics: [] })).toMatchObject({ status, timedOut: false });
  });

  it('ends a command that takes too long, with 124, and leaves nothing', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'vm-test-'));
    vi.stubEnv('TMPDIR', folder);
    onTestFinished(() => {
      vi.unstubAllEnvs();
      rmSync(folder, { recursive: true });
    });
    const result = await runVm({ command: 'sleep 9999', nics: [], timeoutSeconds: 6 });
    expect(result).toMatchObject({ status: 124, timedOut: true, output: '' });
    expect(ownQemus()).toEqual([]);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('has what a test needs: the package, tsx, files, modules and a user without rights', async () => {
    const command = `set -e
      cat /data/note; node /data/program.js; npx tsx examples/missing.ts || echo "tsx $?"
      modprobe tun; test -c /dev/net/tun
      su user -c 'id -u; cat /dev/vfio/0 2>&1 || true; echo mine >/home/user/x; cat /home/user/x'
      test -f node_modules/virtio-net/dist/index.js; test -f node_modules/virtio-net/native-shim/prebuilt/linux-x64/virtio-net-shim.so
      node -e 'import("virtio-net").then(() => import("koffi")).then(() => console.log("loaded"))'
      ping -c 1 127.0.0.1 >/dev/null; hostname`;
    const program = await bundleProgram('test/vm/pcap.ts');
    const { status, output } = await runVm({
      command,
      nics: [],
      files: {
        '/data/note': 'a note\n',
        '/data/pcap.js': program,
        '/data/program.js': {
          contents: 'import { readFrames } from "./pcap.js"; console.log(typeof readFrames);',
        },
        '/data/package.json': '{ "type": "module" }',
        '/data/license': { from: inRepository('LICENSE') },
      },
    });
    expect(output).toContain('a note\nfunction\n');
    expect(output).toMatch(/tsx: the guest has no examples\/missing.js.*\ntsx 1\n1000\n/);
    expect(output.trimEnd().split('\n').slice(-3)).toEqual(['mine', 'loaded', 'guest']);
    expect(status).toBe(0);
  });

  it("leaves a card to the kernel's driver, records its frames, and drives QMP from the output", async () => {
    const command = `
      echo "driver $(basename $(readlink /sys/bus/pci/devices/0000:00:10.0/driver))"
      interface=$(ls /sys/bus/pci/devices/0000:00:10.0/virtio*/net)
      echo "none $(ls -d /sys/bus/pci/devices/0000:00:11.0/driver 2>&1 | grep -c 'No such')"
      cat /sys/class/net/$interface/address
      ip address add 10.0.2.15/24 dev $interface; ip link set $interface up
      ping -c 1 -W 10 10.0.2.2 >/dev/null && echo answered
      echo "carrier $(cat /sys/class/net/$interface/carrier)"
      echo PULL
      while [ "$(cat /sys/class/net/$interface/carrier)" = 1 ]; do sleep 0.1; done
      echo "carrier $(cat /sys/class/net/$interface/carrier)"`;
    const { status, output, dumps, dmarFaults } = await runVm({
      command,
      nics: [{ bind: false, dump: true, properties: 'mac=52:54:00:00:00:07' }, { bind: 'none' }],
      onLine: async (line, vm) => {
        if (line === 'PULL') await vm.qmp('set_link', { name: 'nic0', up: false });
      },
    });
    expect(output.split('\n')).toEqual([
      'driver virtio-pci',
      'none 1',
      '52:54:00:00:00:07',
      'answered',
      'carrier 1',
      'PULL',
      'carrier 0',
      '',
    ]);
    expect(status).toBe(0);
    expect(dmarFaults).toEqual([]);
    expect(dumps[1]).toBeUndefined();
    const arpRequests = readFrames(dumps[0] ?? Buffer.alloc(0)).filter(
      (frame) => frame.toString('hex', 6, 14) === '5254000000070806' && frame.readUInt16BE(20) === 1,
    );
    expect(arpRequests[0]?.toString('hex', 38, 42)).toBe('0a000202');
  });

  it('finds DMA that the vIOMMU refused', async () => {
    // By hand, the least that makes a card read memory: a transmit queue at an address that nobody mapped.
    const command = `set -e
      cd /sys/bus/pci/devices/0000:00:10.0
      echo 1 >enable
      printf '\\006' | dd of=config bs=1 seek=4 conv=notrunc 2>/dev/null
      bar=$(sed -n 5p resource | cut -d' ' -f1)
      write() { devmem $((bar + $1)) $2 $3; }
      write 0x14 8 3
      write 0x08 32 1; write 0x0c 32 3; write 0x14 8 11
      write 0x16 16 1; write 0x20 32 0x5a5a000; write 0x28 32 0x5a5b000; write 0x30 32 0x5a5c000
      write 0x1c 16 1; write 0x14 8 15
      write $((0x3000 + 4)) 16 1
      until dmesg | grep -q 'fault addr'; do sleep 0.1; done`;
    const { status, dmarFaults } = await runVm({ command, nics: [{ bind: 'none' }] });
    expect(status).toBe(0);
    expect(dmarFaults[0]).toMatch(/\[00:10\.0\] fault addr 0x5a5[abc]000/);
  });

  it('runs two at the same time, one of them without an IOMMU', async () => {
    const command = 'echo $(ls /sys/kernel/iommu_groups | wc -l)';
    const [on, off] = await Promise.all([runVm({ command }), runVm({ command, iommu: false })]);
    expect(Number(on.output)).toBeGreaterThan(0);
    expect(off.output).toBe('0\n');
    expect(on.kernelLog).toMatch(/DMAR: IOMMU enabled/);
  });

  it('tells how a guest died', async () => {
    const panic = await failureOf({ command: 'echo c >/proc/sysrq-trigger; sleep 99', nics: [] });
    expect(panic).toMatchObject({ code: 'VM_KERNEL_PANIC' });
    expect(panic.message).toContain('not syncing: sysrq');
    const off = await failureOf({ command: 'poweroff -f; sleep 99', nics: [] });
    expect(off).toMatchObject({ code: 'VM_GUEST_DIED' });
    const badNic = await failureOf({ command: 'true', nics: [{ properties: 'no-such-property=1' }] });
    expect(badNic).toMatchObject({ code: 'VM_QEMU_FAILED' });
    expect(badNic.message).toContain('no-such-property');
  });

  it('ends with the error of a handler, or of QMP', async () => {
    const error = await failureOf({
      command: 'echo go; sleep 9999',
      nics: [],
      onLine: async (_line, vm) => {
        await vm.qmp('no-such-command');
      },
    });
    expect(error).toMatchObject({ code: 'VM_QMP_FAILED' });
    expect(ownQemus()).toEqual([]);
  });

  it('says on the command line what was wrong with it', () => {
    const cli = (...args: string[]) =>
      spawnSync(process.execPath, ['--import', 'tsx', inRepository('test/vm/cli.ts'), ...args], {
        cwd: inRepository(),
        encoding: 'utf8',
      });
    expect(cli('--iommu=perhaps', 'ls')).toMatchObject({
      status: 2,
      stdout: '',
      stderr: '--iommu=perhaps: name on, off or noiommu.\n',
    });
    expect(cli('--help').status).toBe(0);
    const run = cli('--nic=mq=on', '--', 'printf "hello\\n"; exit 7');
    expect(run).toMatchObject({ status: 7, stdout: 'hello\n', stderr: '' });
  });
});

it('keeps the wrappers and init of the guest free of what its shell does not know', () => {
  for (const name of ['init.sh', 'tsx.sh', 'npx.sh']) {
    const script = readFileSync(inRepository('test/vm/guest', name));
    expect(spawnSync('sh', ['-n'], { input: script, encoding: 'utf8' })).toMatchObject({
      status: 0,
      stderr: '',
    });
  }
});
