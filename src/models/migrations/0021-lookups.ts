import type { Migration } from './migration.js';

/** What the page of a backup and the status ask for every few seconds is found without reading all rows. */
export const lookups: Migration = {
  name: '0021-lookups',
  async up({ queryInterface, transaction }) {
    await queryInterface.addIndex('backups', ['parentArchiveId'], { transaction });
    await queryInterface.addIndex('audit_events', ['action', 'id'], { transaction });
  },
};
