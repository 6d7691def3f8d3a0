import { describe, expect, it } from '@jest/globals';
import { parseMetadata } from '../../src/archive/metadata.js';
import { buildMetadata } from '../support/archives.js';

const django = {
  backup_version: '1.0',
  backup_date: '2025-01-02T03:04:05.678901+00:00',
  django_version: '5.2.1',
  database_engine: 'django.db.backends.postgresql',
  database_name: 'okpuja',
  apps: ['auth'],
};

describe('The metadata of an archive', () => {
  it('are read as they were written, fields of later versions included', () => {
    const metadata = { ...buildMetadata(), backup_version: '2.7', from_later: 'backup_x' };
    expect(parseMetadata(JSON.stringify(metadata))).toEqual(metadata);
  });

  it('of the older Django system get the shape of the new ones', () => {
    expect(parseMetadata(JSON.stringify(django))).toMatchObject({
      backup_version: '1.0',
      backup_id: null,
      backup_date: django.backup_date,
      database_engine: 'POSTGRES',
      database_name: 'okpuja',
      apps: [{ app: 'auth', latest_migration: '' }],
      tables: [],
      entries: [],
    });
  });

  it('may list apps with their migrations in either way that Django code did', () => {
    const byName = parseMetadata(JSON.stringify({ ...django, apps: { auth: '0012' } }));
    const listed = parseMetadata(JSON.stringify({ ...django, apps: [{ name: 'auth', latest_migration: '0012' }] }));
    expect(byName.apps).toEqual([{ app: 'auth', latest_migration: '0012' }]);
    expect(listed.apps).toEqual(byName.apps);
  });

  it.each(['4.0', '10', '4.1'])('of version %s ask for an update', (version) => {
    const text = JSON.stringify({ backup_version: version });
    expect(() => parseMetadata(text)).toThrow(expect.objectContaining({ code: 'ARCHIVE_TOO_NEW' }));
  });

  it.each<[string, string, RegExp]>([
    ['no JSON', '{', /not JSON/],
    ['a list', '[]', /not a JSON object/],
    ['nothing', '{}', /no backup_version/],
    ['a strange version', '{"backup_version":"new"}', /backup_version is wrong/],
    ['version 0', '{"backup_version":"0.9"}', /backup_version is wrong/],
    [
      'a missing field',
      JSON.stringify({ ...buildMetadata(), database_engine: undefined }),
      /database_engine is missing/,
    ],
    ['a wrong field', JSON.stringify({ ...buildMetadata(), database_name: 7 }), /database_name is wrong/],
    ['a wrong date', JSON.stringify({ ...buildMetadata(), backup_date: 'yesterday' }), /backup_date is wrong/],
    [
      'a wrong hash',
      JSON.stringify(buildMetadata({ entries: [{ path: 'a', size: 1, sha256: 'x' }] })),
      /entries\.0\.sha256 is wrong/,
    ],
    [
      'a missing field of Django',
      JSON.stringify({ ...django, django_version: undefined }),
      /django_version is missing/,
    ],
    ['a wrong date of Django', JSON.stringify({ ...django, backup_date: '2.1.2025' }), /backup_date is wrong/],
  ])('with %s are foreign, and the message names the field', (_what, text, message) => {
    expect(() => parseMetadata(text)).toThrow(
      expect.objectContaining({ code: 'ARCHIVE_FOREIGN', message: expect.stringMatching(message) }),
    );
  });
});
