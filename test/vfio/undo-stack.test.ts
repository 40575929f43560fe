import { expect, it } from 'vitest';
import { SILENT } from '../../src/log.js';
import { UndoStack } from '../../src/vfio/undo-stack.js';

it('undoes everything once, the latest first, and logs the step that fails', () => {
  const done: string[] = [];
  const logged: object[] = [];
  const undo = new UndoStack({ ...SILENT, warn: (fields) => logged.push(fields) });
  undo.push('one', () => done.push('one'));
  undo.push('two', () => {
    throw new Error('stuck');
  });
  undo.push('three', () => done.push('three'));
  undo.run();
  undo.run();
  expect(done).toEqual(['three', 'one']);
  expect(logged).toEqual([expect.objectContaining({ step: 'two' })]);
});
