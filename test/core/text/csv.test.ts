import { expect, it } from '@jest/globals';
import { csvOf } from '../../../src/core/text/format.js';

it('Comma-separated values quote what would be read as something else, and leave NULL empty', () => {
  const rows = [
    ['id', 'a "name"', 'note'],
    [1, 'Bram, the Old', null],
    [0.5, 'two\nlines', ''],
  ];
  expect(csvOf(rows)).toBe('id,"a ""name""",note\r\n1,"Bram, the Old",\r\n0.5,"two\nlines",');
});
