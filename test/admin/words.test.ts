import { describe, expect, it } from '@jest/globals';
import { isServerUrl } from '../../src/admin/words.js';

describe('The URL of a database', () => {
  it.each([
    ['postgres://user:***@host:5432/shop', true],
    ['postgres://user@%2Fvar%2Frun%2Fpostgresql:5432/shop', true],
    ['mysql://user@[::1]:3306/shop', true],
    ['mongodb://one:27017,two:27017/shop', true],
    ['mongodb+srv://user@cluster.example.com/shop', true],
    ['sqlite:./db.sqlite3', false],
    ['sqlite:///srv/shop/db.sqlite3', false],
    ['', false],
  ])('%s is of a server: %s', (url, expected) => {
    expect(isServerUrl(url)).toBe(expected);
  });
});
