import { describe, expect, it } from '@jest/globals';
import { Secrets } from '../../../src/core/secrets.js';
import { openUrl, sealUrl } from '../../../src/core/sealed-url.js';
import { createEngines } from '../../../src/engines/index.js';
import { driverUrl, keyOf, parseUrl, placeOnServer, resolveUrl, urlBeside } from '../../../src/engines/mongodb/url.js';

const PASSWORD = `p:a\\s's "w/o@r?d%,`;

describe('The URL of a MongoDB database', () => {
  it('comes in one form, shows no password, and gives it to the driver as it was', () => {
    const url = `MONGODB://okp%75ja:${encodeURIComponent(PASSWORD)}@One,two:27018/shop?tls=true&authsource=admin&retryWrites=true&w=majority`;
    const resolved = resolveUrl(url);
    expect(resolved).toMatchObject({
      display: 'mongodb://okpuja:***@one:27017,two:27018/shop?authSource=admin&tls=true',
      name: 'shop',
    });
    expect(parseUrl(resolved.url)).toEqual(parseUrl(url));
    expect(parseUrl(driverUrl(parseUrl(url)))).toMatchObject({ user: 'okpuja', password: PASSWORD });
    expect(resolveUrl(resolved.url)).toEqual(resolved);
  });

  it('may name a cluster in DNS, an address in brackets, and no user', () => {
    expect(resolveUrl('mongodb+srv://u@Cluster.example.com/db').url).toBe('mongodb+srv://u@cluster.example.com/db');
    expect(resolveUrl('mongodb://[::1]/db?ssl=true').url).toBe('mongodb://[::1]:27017/db?tls=true');
    expect(createEngines().forUrl('mongodb+srv://u@cluster.example.com/db').kind).toBe('MONGODB');
  });

  it.each([
    ['mongodb://h', 'names no database'],
    ['mongodb://h/?tls=true', 'names no database'],
    ['mongodb://h/admin', "which is the server's own"],
    ['mongodb://h/a.b', 'that MongoDB cannot have'],
    [`mongodb://h/${'x'.repeat(64)}`, 'that MongoDB cannot have'],
    ['mongodb://:x@h/db', 'names no user before the @'],
    ['mongodb://u:p@ss@h/db', 'is not of the form'],
    ['mongodb://u:%zz@h/db', 'is not of the form'],
    ['mongodb://u:%00@h/db', 'NUL'],
    ['mongodb://h:x/db', 'malformed host'],
    ['mongodb://h:99999/db', 'malformed host'],
    ['mongodb://h,,i/db', 'malformed host'],
    ['mongodb+srv://h:27017/db', 'several hosts or a port'],
    ['mongodb+srv://h,i/db', 'several hosts or a port'],
    ['mongodb://h/db?readPreference=secondary', 'unknown parameter "readPreference"'],
    ['mongodb://h/db?tls=yes', 'a parameter tls with a value that cannot be'],
    ['mongodb://h/db?tlsCAFile=ca.pem', 'a parameter tlsCAFile with a value that cannot be'],
    ['mongodb://h/db?authMechanism=GSSAPI', 'a parameter authMechanism'],
  ])('is refused as %s', (url, message) => {
    let thrown: unknown;
    try {
      parseUrl(url);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: 'BAD_USER_INPUT', field: 'databaseUrl' });
    expect(String(thrown)).toContain(message);
  });

  it('keeps the user where it was when it names another database of the server', () => {
    const beside = (url: string) => urlBeside(placeOnServer(url), 'wiki');
    expect(beside('mongodb://u:p%40@h/shop')).toBe('mongodb://u:p%40@h:27017/wiki?authSource=shop');
    expect(beside('mongodb://u:p@h/shop?authSource=x')).toBe('mongodb://u:p@h:27017/wiki?authSource=x');
    expect(beside('mongodb://u:p@h')).toBe('mongodb://u:p@h:27017/wiki?authSource=admin');
    expect(beside('mongodb://h/')).toBe('mongodb://h:27017/wiki');
    expect(beside('mongodb+srv://u:p@h/shop')).toBe('mongodb+srv://u:p@h/wiki');
  });

  it('names one database whatever its order of hosts, its user and its parameters', () => {
    expect(keyOf('mongodb://a:b@Two,one:27017/db?replicaSet=x')).toBe(keyOf('mongodb://c@one,two/db'));
    expect(keyOf('mongodb://127.0.0.1/db')).toBe(keyOf('mongodb://localhost/db'));
    expect(keyOf('mongodb://one/db')).not.toBe(keyOf('mongodb://one/other'));
  });

  it('has its password sealed, also where it names a cluster in DNS', async () => {
    const secrets = new Secrets({ given: 'k'.repeat(40), file: '' });
    for (const url of ['mongodb://u:p%40@a:1,b:2/d?tls=true', 'mongodb+srv://u:p%40@a.b/d']) {
      const sealed = await sealUrl(secrets, url);
      expect(sealed).toMatch(/^mongodb(\+srv)?:\/\/u:sealed-v1\.[\w.-]+@/);
      expect(await openUrl(secrets, sealed)).toBe(url);
    }
  });
});
