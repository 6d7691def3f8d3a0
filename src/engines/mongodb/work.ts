// What needs the driver, which is slow to load: only for a database of this kind.
export { withConnection } from './connection.js';
export { countDocuments, describedDump, dumpIn } from './dump.js';
export {
  assertRights,
  assertThere,
  databasesOf,
  describeLive,
  keptOf,
  listingOf,
  namesIn,
  sizeIn,
  sizeOf,
} from './facts.js';
export { assertWritable, clearStampAt, discardAt, drillDump, loadDump, stampAt } from './load.js';
export { dropScratchAt, readAllAt } from './scratch.js';
export { takeSnapshot } from './snapshot.js';
export { assertSettled } from './switch.js';
