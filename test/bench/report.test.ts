import { describe, expect, it } from 'vitest';
import { drawPlots, drawPlot, renderPage } from '../../bench/report/page.js';
import { readPage, readPlots, readResults, renderedPage } from '../../bench/report/files.js';
import { printSection } from '../../bench/report/print.js';
import { linearTicks, logarithmicTicks } from '../../bench/report/svg.js';
import { renderSummary } from '../../bench/report/summary.js';
import type { RecordedSection } from '../../bench/result.js';

const SECTION: RecordedSection = {
  title: 'A section',
  what: 'Something was measured.',
  tables: [
    {
      title: 'A table',
      columns: [{ name: 'Case' }, { name: 'Rate', unit: 'Mpps' }],
      rows: [
        ['split | packed <all>', 12.345],
        ['nothing', null],
      ],
    },
  ],
  plots: [
    {
      kind: 'bars',
      title: 'Bars',
      unit: 'Mpps',
      groups: ['one', 'two & <three>'],
      series: [{ name: 'ours', bars: [{ value: 10, low: 8, high: 12 }, null] }],
    },
    {
      kind: 'lines',
      title: 'Lines',
      unit: 'ns',
      x: { name: 'burst', scale: 'logarithmic' },
      scale: 'logarithmic',
      series: [
        {
          name: 'ours',
          points: [
            [1, 100],
            [32, 10],
          ],
        },
      ],
    },
  ],
  notes: ['A note.'],
  commands: [{ name: 'A program', line: 'true' }],
  date: '2026-01-02T03:04:05.000Z',
  rounds: 1,
  seconds: 61,
  machine: {
    processor: 'A processor',
    processors: 2,
    memoryGigabytes: 8,
    kernel: '6.1',
    system: 'A system',
    node: '20.19.0',
    v8: '11.3',
  },
  measured: { version: '1.2.3', commit: '0123456789ab', changed: false, koffi: '3.3.4' },
};

describe('the page of the results', () => {
  it('is what bench/results.json says; if not, run: npm run bench -- --render', async () => {
    expect(readPage()).toBe(await renderedPage());
    expect(readPlots()).toEqual(drawPlots(readResults()));
  });

  it('keeps what was written by hand, before, between and behind the sections', () => {
    const page =
      'Before.\n\n<!-- one:begin -->\nold\n<!-- one:end -->\n\nBetween.\n\n<!-- two:begin -->\n<!-- two:end -->\n\nBehind.\n';
    const text = renderPage(page, { sections: { two: SECTION, one: SECTION, three: SECTION } });
    const outline = text.match(/^(Before|Between|Behind|old|## .*|<!-- .*)/gm);
    expect(outline).toEqual([
      ...['Before', '<!-- one:begin -->', '## A section', '<!-- one:end -->', 'Between'],
      ...['<!-- two:begin -->', '## A section', '<!-- two:end -->', 'Behind'],
      ...['<!-- three:begin -->', '## A section', '<!-- three:end -->'],
    ]);
    expect(renderPage(text, { sections: { one: SECTION, two: SECTION, three: SECTION } })).toBe(text);
  });

  it('says so where its sections come from different states of the source or machines, and then only', () => {
    const page = '<!-- mixture:begin -->\n<!-- mixture:end -->\n';
    const words = 'not all measured on the same machine and at the same state of the source';
    expect(renderPage(page, { sections: { one: SECTION, two: SECTION } })).not.toContain(words);
    const later = { ...SECTION, measured: { ...SECTION.measured, changed: true } };
    const mixed = renderPage(page, { sections: { one: SECTION, two: later } });
    expect(mixed).toContain(words);
    expect(mixed).toContain('at commit 0123456789ab, with changes, koffi 3.3.4');
    expect(renderPage(mixed, { sections: { one: later, two: later } })).not.toContain(words);
  });

  it('has tables, plots, notes, circumstances and command lines', () => {
    const text = renderPage('', { sections: { one: SECTION } });
    expect(text).toContain(
      '| Case | Rate, Mpps |\n| --- | ---: |\n| split \\| packed &lt;all> | 12.3 |\n| nothing | – |',
    );
    expect(text).toContain('![Bars](performance/one-1.svg)\n\n![Lines](performance/one-2.svg)');
    expect(text).toContain('- A note.');
    expect(text).toContain(
      '_Measured on 2026-01-02: virtio-net 1.2.3 at commit 0123456789ab, koffi 3.3.4; 1 round, 1 minute, on 2 processors (A',
    );
    expect(text).toContain('A program:\n\n```sh\ntrue\n```');
  });
});

describe('the plots', () => {
  it('are drawings that stand by themselves', () => {
    const plots = drawPlots({ sections: { one: SECTION } });
    expect([...plots.keys()]).toEqual(['one-1.svg', 'one-2.svg']);
    for (const text of plots.values()) {
      expect(text).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" [^]*<\/svg>\n$/);
      expect(text).not.toMatch(/NaN|Infinity|undefined/);
      // Each element is closed, as XML wants it.
      const opened = text.match(/<[a-z]+(?=[ >])/g)?.length;
      expect(text.match(/\/>|<\/[a-z]+>/g)?.length).toBe(opened);
    }
  });

  it('draw a whisker from the lowest to the highest round, in the scale of the bar', () => {
    const text = drawPlot(SECTION.plots[0]);
    const width = Number(/<rect [^>]* width="([\d.]+)" height="14"/.exec(text)?.[1]);
    const [, from, to] = /<line x1="([\d.]+)" [^>]* x2="([\d.]+)" [^>]*class="whisker"/.exec(text) ?? [];
    expect((Number(to) - Number(from)) / width).toBeCloseTo((12 - 8) / 10, 1);
    expect(text).toContain('two &amp; &lt;three&gt;');
  });

  it('have round figures at their axes', () => {
    expect(linearTicks(47)).toEqual([0, 10, 20, 30, 40, 50]);
    expect(linearTicks(0.9)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(linearTicks(0)).toEqual([0, 1]);
    expect(logarithmicTicks(5, 300)).toEqual([1, 10, 100, 1000]);
  });
});

describe('a section on the terminal', () => {
  it('is its table in columns, with its notes', () => {
    expect(printSection(SECTION)).toContain(
      'Case                  Rate, Mpps\nsplit | packed <all>        12.3\nnothing                        –\n\n- A note.\n',
    );
  });
});

describe('the table of the README', () => {
  it('is the first one beside DPDK, without its ranges', () => {
    const columns = ['Case', 'Rings', 'virtio-net', 'from – to', 'DPDK virtio-user', 'from – to', 'ratio'];
    const table = {
      title: 'Frames of 64 bytes',
      columns: columns.map((name) => ({ name })),
      rows: [['receive', 'split', 30.1, '29 – 31', 29.9, '28 – 30', 1.01]],
    };
    const text = renderSummary({ sections: { dpdk: { ...SECTION, tables: [table] } } });
    expect(text).toContain('Frames of 64 bytes (A processor, Node.js 20.19.0, 2026-01-02):');
    expect(text).toContain('| Case | Rings | virtio-net | DPDK virtio-user | ratio |');
    expect(text).toContain('| receive | split | 30.1 | 29.9 | 1.01 |');
  });

  it('is not there before anything was measured', () => {
    expect(renderSummary({ sections: {} })).toBe('');
    expect(renderSummary({ sections: { dpdk: { ...SECTION, tables: [] } } })).toBe('');
  });
});
