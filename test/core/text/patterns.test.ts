import { describe, expect, it } from '@jest/globals';
import { matcher } from '../../../src/core/text/patterns.js';

describe('A pattern', () => {
  it.each([
    ['log', ['log'], ['log_1', 'Log', 'alog']],
    ['log_*', ['log_', 'log_1'], ['log', 'logs', 'a.log_1']],
    ['*_old', ['_old', 'a_old'], ['old', 'a_old_']],
    ['a*b*c', ['abc', 'a-b-c', 'abbc'], ['ac', 'acb', 'abcd']],
    ['a*a', ['aa', 'aba'], ['a']],
    ['*x*', ['x', 'axb'], ['', 'ab']],
    ['a.b[c]?', ['a.b[c]?'], ['aXb[c]?', 'a.bc']],
  ])('%s fits what it means and nothing else', (pattern, fitting, others) => {
    const fits = matcher([pattern]);
    expect(fitting.filter((name) => !fits(name))).toEqual([]);
    expect(others.filter((name) => fits(name))).toEqual([]);
  });

  it('that was made to take long takes no longer than others', () => {
    const began = performance.now();
    expect(matcher(['*a'.repeat(150) + 'b'])('a'.repeat(100_000))).toBe(false);
    expect(performance.now() - began).toBeLessThan(1_000);
  });

  it('among others is enough, and none fits nothing', () => {
    expect(matcher(['x', 'lo*'])('log')).toBe(true);
    expect(matcher([])('log')).toBe(false);
  });
});
