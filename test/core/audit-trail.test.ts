import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { compareArchiveHeads } from '../../src/core/archives/audit-heads.js';
import { trailEvents, trailHead, verifyTrail } from '../../src/core/audit-trail.js';
import { FIRST_LINK, linkOf } from '../../src/models/audit-chain.js';
import { createWorld, NEVER, type World } from '../support/world.js';

let world: World;
beforeEach(async () => {
  world = await createWorld();
});
afterEach(() => world.close());

const models = () => world.app.models;
const sql = (text: string) => models().sequelize.query(text);
const messages = async () => (await verifyTrail(models(), NEVER)).breaks.map(({ message }) => message);

async function record(count: number): Promise<void> {
  for (let number = 0; number < count; number++) {
    await world.app.audit.record('a@example.org', 'test.event', number, { number, nested: { b: [1, null], a: 'ü' } });
  }
}

it('Each event is linked to the one before, the first to 64 zeros', async () => {
  await record(3);
  const events = [];
  for await (const event of trailEvents(models())) events.push(event);
  expect(events.length).toBeGreaterThan(3);
  let previous = FIRST_LINK;
  for (const event of events) {
    expect([event.previousHash, event.hash]).toEqual([previous, linkOf(previous, event)]);
    previous = event.hash!;
  }
  expect(await verifyTrail(models(), NEVER)).toEqual({
    events: events.length,
    head: { event: events.at(-1)!.id, sha256: previous },
    breaks: [],
  });
});

it('The order of members within details says nothing', () => {
  const event = { at: new Date(0), actor: 'a', action: 'b', subject: null };
  const one = linkOf(FIRST_LINK, { ...event, details: { x: 1, y: { a: 1, b: 2 } } });
  expect(linkOf(FIRST_LINK, { ...event, details: { y: { b: 2, a: 1 }, x: 1 } })).toBe(one);
  expect(linkOf(FIRST_LINK, { ...event, details: { x: 1, y: { a: 2, b: 2 } } })).not.toBe(one);
});

it.each([
  ['who did it', `UPDATE audit_events SET actor = 'b@example.org' WHERE subject = '2'`],
  ['what was done', `UPDATE audit_events SET action = 'test.other' WHERE subject = '2'`],
  ['to what', `UPDATE audit_events SET subject = '22' WHERE subject = '2'`],
  ['when', `UPDATE audit_events SET at = '2020-01-01 00:00:00.000 +00:00' WHERE subject = '2'`],
  ['a detail', `UPDATE audit_events SET details = '{"number":3}' WHERE subject = '2'`],
])('Where a row was changed in %s, that event is named', async (_what, change) => {
  await record(5);
  const [row] = await models().AuditEvent.findAll({ where: { subject: '2' } });
  await sql(change);
  expect(await messages()).toEqual([`Event ${row!.id} was changed after it was written.`]);
});

it('Where a row was removed or put in, the place is named', async () => {
  await record(5);
  const [row] = await models().AuditEvent.findAll({ where: { subject: '2' } });
  await sql(`DELETE FROM audit_events WHERE subject = '2'`);
  expect(await messages()).toEqual([
    `Before event ${row!.id + 1} something was removed or put in: what followed event ${row!.id - 1} is another.`,
  ]);
  await models().AuditEvent.create({ at: new Date(), actor: 'x', action: 'test.event', subject: null });
  expect((await messages()).at(-1)).toMatch(/was written past the trail/);
});

it('A trail that was cut off or written anew agrees with itself, but not with an archive', async () => {
  await record(3);
  const backup = await world.backup();
  expect(await compareArchiveHeads(world.app, NEVER)).toEqual({ compared: 1, breaks: [], unread: [] });

  const events = [];
  for await (const event of trailEvents(models())) events.push(event);
  let previous = FIRST_LINK;
  await sql('UPDATE audit_events SET "previousHash" = NULL');
  for (const event of events) {
    const forged = { ...event, actor: event.actor === 'a@example.org' ? 'nobody' : event.actor };
    const hash = linkOf(previous, forged);
    await models().AuditEvent.update(
      { actor: forged.actor, previousHash: previous, hash },
      { where: { id: event.id } },
    );
    previous = hash;
  }
  expect(await messages()).toEqual([]);
  expect((await compareArchiveHeads(world.app, NEVER)).breaks).toEqual([
    {
      event: expect.any(Number),
      message: expect.stringContaining(`than the one that the archive of ${backup.id} knew`),
    },
  ]);

  await sql('DELETE FROM audit_events WHERE id > 1');
  expect(await messages()).toEqual([]);
  expect((await compareArchiveHeads(world.app, NEVER)).breaks).toEqual([
    { event: expect.any(Number), message: expect.stringMatching(/which the archive of .* knew, is gone/) },
  ]);
});

it('Two processes that record at the same moment leave one chain', async () => {
  const other = await world.again();
  await Promise.all(
    [world.app, other].flatMap(({ audit }, index) =>
      Array.from({ length: 25 }, (_, number) => audit.record('test', 'test.race', `${index}.${number}`)),
    ),
  );
  await Promise.all([world.app.audit.makeUp(), other.audit.makeUp()]);
  const trail = await verifyTrail(models(), NEVER);
  expect(trail.breaks).toEqual([]);
  expect(await models().AuditEvent.count({ where: { action: 'test.race' } })).toBe(50);
  expect(trail.head).toEqual(await trailHead(models()));
});
