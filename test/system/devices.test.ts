/** The table of devices: see test/vm/table/devices.ts for its rows, and suite.ts there for what each goes through. */
import { beforeAll, describe, expect, it } from 'vitest';
import { describeVm } from '../vm/describe-vm.js';
import { planBoots } from '../vm/table/boots.js';
import { DEVICES } from '../vm/table/devices.js';
import { reasonsOf } from '../vm/table/format.js';
import { negotiatedOf, readNegotiated } from '../vm/table/negotiated.js';
import { runBoot, type RowResult } from '../vm/table/run-boot.js';

const LONG = 900_000;

describeVm('the table of devices', () => {
  const all: RowResult[] = [];
  describe.each(planBoots(DEVICES).map((boot, number) => ({ boot, name: `${boot.machine} ${number + 1}` })))(
    'on machine $name',
    ({ boot }) => {
      const results = new Map<string, RowResult>();
      beforeAll(async () => {
        for (const result of await runBoot(boot)) results.set(result.row.name, result);
        all.push(...results.values());
      }, LONG);

      it.each(boot.rows.map(({ name }) => name))('%s', (name) => {
        const result = results.get(name);
        expect(result?.checks.length).toBeGreaterThan(0);
        expect(result === undefined ? [] : reasonsOf(result)).toEqual([]);
      });
    },
  );

  it('negotiates with them what the documentation says', () => {
    expect(negotiatedOf(all)).toEqual(readNegotiated());
  });
});
