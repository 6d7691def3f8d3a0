import { describe, expect, it } from '@jest/globals';
import { sep } from 'node:path';
import { contained } from '../../src/archive/names.js';

const path = (name: string) => name.replaceAll('/', sep);

describe('A path lies inside a folder', () => {
  it.each([
    ['/srv/data', true],
    ['/srv/data/a', true],
    ['/srv/data/..data', true],
    ['/srv/data/...', true],
    ['/srv/data/..data/b', true],
    ['/srv', false],
    ['/srv/other', false],
    ['/srv/..data', false],
    ['/', false],
  ])('%s: %p', (name, expected) => expect(contained(path('/srv/data'), path(name))).toBe(expected));
});
