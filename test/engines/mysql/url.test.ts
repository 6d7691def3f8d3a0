import { describe, expect, it } from '@jest/globals';
import { keyOf, parseUrl, resolveUrl } from '../../../src/engines/mysql/url.js';

describe('A URL of a MySQL or MariaDB database', () => {
  it('gives the place, with what was percent-encoded', () => {
    expect(parseUrl('mysql://us%40er:p%3Aw%2F@[::1]:3307/d%C3%A4?ssl-mode=VERIFY_CA&ssl-ca=/ca.pem')).toEqual({
      ...{ host: '::1', port: 3307, socket: null, user: 'us@er', password: 'p:w/', database: 'dä' },
      ...{ sslMode: 'verify_ca', sslCa: '/ca.pem' },
    });
    expect(parseUrl('mariadb://u@localhost/d?socket=/run/mysqld/mysqld.sock')).toMatchObject({
      ...{ host: 'localhost', port: 3306, socket: '/run/mysqld/mysqld.sock', password: null, sslMode: 'preferred' },
    });
  });

  it('is normalised, and shown without its password', () => {
    const { url, display, name } = resolveUrl('MariaDB://u:s%65cret@DB.example/d');
    expect({ url, display, name }).toEqual({
      ...{ url: 'mysql://u:secret@db.example:3306/d', display: 'mysql://u:***@db.example:3306/d', name: 'd' },
    });
    expect(resolveUrl(url).url).toBe(url);
    const socket = resolveUrl('mysql://u@localhost/d?socket=/s').url;
    expect(resolveUrl(socket).url).toBe(socket);
  });

  it('has one key for every way to this machine', () => {
    const keys = ['u@localhost', 'v:p@127.0.0.1', 'u@[::1]'].map((at) => keyOf(`mysql://${at}/d`));
    expect(new Set([...keys, keyOf('mysql://u@localhost/d?socket=/s')]).size).toBe(1);
    expect(keyOf('mysql://u@one/d')).not.toBe(keyOf('mysql://u@other/d'));
  });

  it.each([
    'mysql:u@h/d',
    'mysql://h/d',
    'mysql://u@h',
    'mysql://u@h,i/d',
    'mysql://u:secret@h/d?x=1',
    'mysql://u@h/d?socket=relative',
    'mysql://u@h/d?ssl-mode=maybe',
    'mysql://u@h/d?ssl-mode=verify_ca',
    'mysql://u@h/d?ssl-ca=relative',
    'mysql://u@[::1]/d?ssl-mode=verify_identity&ssl-ca=/ca.pem',
    'mysql://u:%ZZ@h/d',
    'mysql://u:secret%0A@h/d',
    'mysql://u@h/mysql',
    `mysql://u@h/${'x'.repeat(65)}`,
  ])('is refused with the field, and not repeated: %s', (url) => {
    expect(() => parseUrl(url)).toThrow(expect.objectContaining({ code: 'BAD_USER_INPUT', field: 'databaseUrl' }));
    expect(() => parseUrl(url)).not.toThrow('secret');
  });
});
