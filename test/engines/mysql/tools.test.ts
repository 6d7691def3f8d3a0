import { describe, expect, it } from '@jest/globals';
import { readVersion } from '../../../src/engines/mysql/connection.js';
import { readRights } from '../../../src/engines/mysql/facts.js';
import { defaultsFile, readToolVersion, type Tools, toolsFor } from '../../../src/engines/mysql/tools.js';
import { parseUrl } from '../../../src/engines/mysql/url.js';

const tools = (kind: Tools['kind'], ...version: [number, number]): Tools => ({
  ...{ kind, version, dump: '/d', client: '/c', hasSandbox: true },
});

describe('The client programs', () => {
  it.each([
    ['mysqldump  Ver 10.19 Distrib 10.11.6-MariaDB, for debian-linux-gnu (x86_64)', 'MariaDB', [10, 11]],
    ['mariadb-dump from 11.4.2-MariaDB, client 10.19 for Linux (x86_64)', 'MariaDB', [11, 4]],
    ['mysqldump  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)', 'MySQL', [8, 0]],
  ])('say their kind and version: %s', (text, kind, version) => {
    expect(readToolVersion(text)).toEqual({ kind, version });
  });

  it('are those of the kind and version of the server, or the nearest newer ones', () => {
    const found = [tools('MySQL', 8, 4), tools('MariaDB', 11, 4), tools('MariaDB', 10, 11)];
    expect(toolsFor(found, readVersion('10.6.18-MariaDB'), null).version).toEqual([10, 11]);
    expect(toolsFor(found, readVersion('5.5.5-11.2.1-MariaDB-log'), null).version).toEqual([11, 4]);
    expect(toolsFor(found, readVersion('8.0.36'), null).kind).toBe('MySQL');
  });

  it('that are missing or too old are named with the package that brings them', () => {
    const refusal = { code: 'DATABASE_TOOLS_MISSING', hint: expect.stringContaining('mysql-client') };
    expect(() => toolsFor([tools('MariaDB', 11, 4)], readVersion('8.0.36'), null)).toThrow(
      expect.objectContaining(refusal),
    );
    expect(() => toolsFor([tools('MySQL', 8, 0)], readVersion('8.4.0'), '/bin')).toThrow(
      expect.objectContaining({ ...refusal, message: expect.stringContaining('is of version 8.0') }),
    );
  });

  it('get the connection in a file, with what is special in it escaped', () => {
    const place = parseUrl('mysql://u:a%22b%5Cc%23@h/d?ssl-mode=verify_identity&ssl-ca=/ca.pem');
    const lines = defaultsFile('MariaDB', place, true).split('\n');
    expect(lines).toEqual(
      expect.arrayContaining(['password="a\\"b\\\\c#"', 'ssl-verify-server-cert', 'ssl-ca="/ca.pem"']),
    );
    expect(defaultsFile('MySQL', place, true)).toContain('ssl-mode=VERIFY_IDENTITY');
    expect(defaultsFile('MySQL', parseUrl('mysql://u@h/d'), false)).toContain('ssl-mode=DISABLED');
  });
});

describe('The rights that a server lists', () => {
  it('count where their pattern means the database', () => {
    const grants = ['GRANT USAGE ON *.* TO `u`@`%`', 'GRANT SELECT, SHOW VIEW ON `ap\\_%`.* TO `u`@`%`'];
    expect([...readRights(grants, 'ap_1').own]).toEqual(['USAGE', 'SELECT', 'SHOW VIEW']);
    expect([...readRights(grants, 'apx1').own]).toEqual(['USAGE']);
    expect([...readRights(['GRANT SELECT ON `a.p`.* TO u'], 'axp').own]).toEqual([]);
  });

  it('on single tables do not count, and routines need a right of their own', () => {
    expect([...readRights(['GRANT SELECT ON `app`.`t` TO `u`@`%`'], 'app').own]).toEqual([]);
    expect(readRights(['GRANT ALL PRIVILEGES ON `other`.* TO u'], 'app').routines).toBe(false);
    expect(readRights(['GRANT SELECT ON `app`.* TO u'], 'app').routines).toBe(false);
    expect(readRights(['GRANT SELECT ON `mysql`.`proc` TO u'], 'app').routines).toBe(true);
    expect(readRights(['GRANT SHOW_ROUTINE ON *.* TO u'], 'app').routines).toBe(true);
  });
});
