import { answerParent } from '../../child.js';
import { compareCopies } from './compare.js';
import { queryCopy } from './query.js';
import type { RowsTask } from './rows.js';

// The process that `rows.ts` starts: does one task and ends.
answerParent((task: RowsTask) => (task.kind === 'query' ? queryCopy(task) : compareCopies(task)));
