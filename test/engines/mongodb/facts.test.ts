import { describe, expect, it } from '@jest/globals';
import type { Document } from 'mongodb';
import type { Connection } from '../../../src/engines/mongodb/connection.js';
import { failureAt } from '../../../src/engines/mongodb/connection.js';
import { assertRights, consistencyFinding } from '../../../src/engines/mongodb/facts.js';
import { parseUrl } from '../../../src/engines/mongodb/url.js';

const place = parseUrl('mongodb://u:p@h/shop?authSource=admin');
const serverError = (code: number, message: string) =>
  Object.assign(new Error(message), { name: 'MongoServerError', code });

/** A server that says these rights of its user. */
const withRights = (privileges: Document[]) =>
  ({
    place,
    run: async (command: Document) =>
      'connectionStatus' in command
        ? { authInfo: { authenticatedUsers: [{ user: 'u', db: 'admin' }], authenticatedUserPrivileges: privileges } }
        : {},
  }) as unknown as Connection;
const READ = ['find', 'listCollections', 'listIndexes', 'dbStats'];
const WRITE = ['insert', 'remove', 'createCollection', 'createIndex', 'dropCollection', 'renameCollectionSameDB'];
const on = (db: string, actions: string[], collection = '') => ({ resource: { db, collection }, actions });

describe('The rights of a user of MongoDB', () => {
  it('suffice where they are of the database, of all databases, or of everything', async () => {
    await assertRights(withRights([on('shop', READ)]), 'read');
    await assertRights(withRights([on('', [...READ, ...WRITE])]), 'write');
    await assertRights(withRights([{ resource: { anyResource: true }, actions: ['anyAction'] }]), 'write');
  });

  it.each([
    ['read', [on('other', READ)], {}, 'read'],
    ['read', [on('shop', READ, 'one')], {}, 'read'],
    ['write', [on('shop', READ)], {}, 'readWrite'],
    ['write', [on('shop', [...READ, ...WRITE])], { validators: true }, 'dbAdmin'],
  ] as const)('to %s that are missing are named with the role to grant', async (purpose, rights, options, role) => {
    await expect(assertRights(withRights([...rights]), purpose, options)).rejects.toMatchObject({
      code: 'DATABASE_UNREADABLE',
      hint: `As an administrator, run: db.getSiblingDB("admin").grantRolesToUser("u", [{ role: "${role}", db: "shop" }])`,
    });
  });
});

describe('An error of MongoDB', () => {
  it.each([
    [serverError(18, 'Authentication failed.'), 'DATABASE_UNREADABLE', 'authSource'],
    [serverError(13, 'not authorized on shop'), 'DATABASE_UNREADABLE', 'grantRolesToUser'],
    [serverError(239, 'snapshot too old'), 'DATABASE_FAILED', 'minSnapshotHistoryWindowInSeconds'],
    [serverError(246, 'snapshot unavailable'), 'DATABASE_FAILED', 'minSnapshotHistoryWindowInSeconds'],
    [serverError(112, 'write conflict'), 'DATABASE_FAILED', 'Correct the cause'],
    [Object.assign(new Error('closed'), { name: 'MongoNetworkError' }), 'DATABASE_FAILED', 'log of MongoDB'],
    [Object.assign(new Error('late'), { name: 'MongoServerSelectionError' }), 'DATABASE_NOT_FOUND', 'firewall'],
  ])('%s becomes %s with what to do', (error, code, hint) => {
    expect(failureAt(place, error)).toMatchObject({ code, hint: expect.stringContaining(hint) });
  });
});

describe('A backup that is not of one moment', () => {
  const server = (hasSnapshots: boolean, topology: string) =>
    ({ hasSnapshots, topology, version: '4.4.1' }) as unknown as Connection;
  it('says so, and why', () => {
    expect(consistencyFinding(server(true, 'REPLICA_SET'))).toBeNull();
    expect(consistencyFinding(server(false, 'STANDALONE'))?.message).toMatch('The server is a standalone');
    expect(consistencyFinding(server(false, 'REPLICA_SET'))?.message).toMatch('4.4.1 reads no snapshot');
  });
});
