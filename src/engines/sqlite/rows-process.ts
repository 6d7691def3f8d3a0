import { answerParent } from '../../child.js';
import { chooseCopy } from './choose.js';
import { compareCopies } from './compare.js';
import { queryCopy } from './query.js';
import { rowIn } from './row.js';
import { referencesIn } from './references.js';
import { suggestIn } from './suggest.js';
import type { RowsTask } from './rows.js';

// The process that `rows.ts` starts: does one task and ends.
answerParent((task: RowsTask) => {
  if (task.kind === 'query') return queryCopy(task);
  if (task.kind === 'row') return rowIn(task);
  if (task.kind === 'suggest') return suggestIn(task);
  if (task.kind === 'references') return referencesIn(task);
  return task.kind === 'choose' ? chooseCopy(task) : compareCopies(task);
});
