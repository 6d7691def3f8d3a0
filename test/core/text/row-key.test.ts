import { expect, it } from '@jest/globals';
import { columnValue } from '../../../src/core/text/row-key.js';

it.each<[string, [string, string | number] | null]>([
  ['id=17', ['id', 17]],
  ['total=-1.5', ['total', -1.5]],
  ['code=007', ['code', '007']],
  ['name=a=b', ['name', 'a=b']],
  ['name= x', ['name', ' x']],
  ['word=Infinity', ['word', 'Infinity']],
  ['big=9007199254740993', ['big', '9007199254740993']],
  ['empty=', ['empty', '']],
  ['=1', null],
  ['id', null],
])('A column with its value, written as %s, is %j', (text, pair) => {
  expect(columnValue(text)).toEqual(pair);
});
