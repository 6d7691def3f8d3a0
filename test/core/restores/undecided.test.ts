import { expect, it } from '@jest/globals';
import { createEngines } from '../../../src/engines/index.js';
import { AppError } from '../../../src/errors.js';
import { createWorld } from '../../support/world.js';

it.each([
  ['COMPLETED', true],
  ['FAILED', false],
])('A restore whose switch got no answer waits for the database, and ends %s', async (status, happened) => {
  const real = createEngines();
  const sqlite = real.of('SQLITE');
  let answers = true;
  const away = () => new AppError('DATABASE_NOT_FOUND', 'The server does not answer.');
  const engine: typeof sqlite = {
    ...sqlite,
    async load(folder, url, options) {
      options.onSwitch();
      if (happened) await sqlite.load(folder, url, options);
      answers = false;
      throw away();
    },
    async stampOf(url) {
      if (!answers) throw away();
      return sqlite.stampOf(url);
    },
  };
  const world = await createWorld({ engines: { ...real, of: () => engine, forUrl: () => engine } });
  try {
    const { id: backupId } = await world.backup();
    const row = await world.restore({ backupId });
    expect(row).toMatchObject({ status: 'RUNNING', errorCode: null });
    await world.app.restores.recover();
    expect(await row.reload()).toMatchObject({ status: 'RUNNING' });
    answers = true;
    await world.app.restores.recover();
    expect(await row.reload()).toMatchObject({ status });
    expect(await sqlite.stampOf(row.targetUrl)).toBeNull();
  } finally {
    await world.close();
  }
});
