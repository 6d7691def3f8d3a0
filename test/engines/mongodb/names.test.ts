import { describe, expect, it } from '@jest/globals';
import {
  fileNameOf,
  isCollectionName,
  isEntry,
  isOwn,
  newName,
  oldName,
  timeOf,
} from '../../../src/engines/mongodb/names.js';

describe('The name of a collection', () => {
  // What Go's url.PathEscape gives, and mongodump's own rule for colons.
  it.each([
    ['plain-name_1.2~x', 'plain-name_1.2~x'],
    ['a/b c:d%', 'a%2Fb%20c%3Ad%25'],
    ["!*'()", '%21%2A%27%28%29'],
    ['$&+=@', '$&+=@'],
    [';,?', '%3B%2C%3F'],
    ['日', '%E6%97%A5'],
  ])('%s is written in a file name as mongodump does', (name, file) => {
    expect(fileNameOf(name)).toBe(file);
  });

  it('that is too long for a file is cut, with a hash that tells it from others', () => {
    const name = 'x'.repeat(239);
    expect(fileNameOf('x'.repeat(238))).toBe('x'.repeat(238));
    expect(fileNameOf(name)).toMatch(/^x{208}%24[\w-]{27}$/);
    expect(fileNameOf(name)).not.toBe(fileNameOf(`${name}y`));
  });

  it('is of db-manager only where it carries the stamp of a restore or drill', () => {
    const stamp = 'restore_20261126_030210_0a1b2c3d';
    for (const own of [
      newName(stamp, 0),
      oldName(stamp, 12),
      'dbm_switch',
      newName('drill_20261126_030210_0a1b2c3d', 1),
    ]) {
      expect([own, isOwn(own), isCollectionName(own)]).toEqual([own, true, false]);
    }
    for (const other of ['dbm_new_x_1', 'dbm_old_restore_1', 'dbm', `x${newName(stamp, 1)}`]) {
      expect([other, isOwn(other), isCollectionName(other)]).toEqual([other, false, true]);
    }
    expect(new Date(timeOf(stamp)).toISOString()).toBe('2026-11-26T03:02:10.000Z');
  });

  it('cannot be empty, hold a dollar sign or NUL, or be one that the server means something by', () => {
    for (const name of ['', 'a$b', 'a\0b', 'system.users', 'x'.repeat(255), '\ud800']) {
      expect([name, isCollectionName(name)]).toEqual([name, false]);
    }
  });

  it('belongs to the database only directly below its folder', () => {
    expect(['database.bson/a.bson', 'database.bson/a.metadata.json'].every(isEntry)).toBe(true);
    for (const path of [
      'database.bson/',
      'database.bson/a/b.bson',
      'database.bson/.bson.txt',
      'a.bson',
      'media/a.bson',
    ]) {
      expect([path, isEntry(path)]).toEqual([path, false]);
    }
  });
});
