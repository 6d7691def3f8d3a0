import { DataTypes, type Model } from 'sequelize';
import { bytes } from './columns.js';

export type RunStatus = 'PENDING' | 'RUNNING' | 'COMPLETED' | 'FAILED';

/** When a run entered a phase: the log of a run. `at` is ISO 8601, UTC. */
export interface PhaseEntry {
  phase: string;
  at: string;
}

type CountingRow = Model & { bytesDone: number | null; bytesTotal: number | null };

/** The columns that all runs share: the state machine of a long operation. */
export const runColumns = {
  progress: { type: DataTypes.DOUBLE, defaultValue: 0 },
  bytesDone: bytes<CountingRow>('bytesDone'),
  bytesTotal: bytes<CountingRow>('bytesTotal'),
  phase: DataTypes.STRING(32),
  phases: { type: DataTypes.JSON, defaultValue: [] },
  errorCode: DataTypes.STRING(64),
  errorMessage: DataTypes.TEXT,
  errorHint: DataTypes.TEXT,
  warnings: { type: DataTypes.JSON, defaultValue: [] },
  cancelRequested: { type: DataTypes.BOOLEAN, defaultValue: false },
  leaseHolder: DataTypes.STRING(100),
  createdBy: DataTypes.STRING(320),
  createdAt: DataTypes.DATE,
  startedAt: DataTypes.DATE,
  completedAt: DataTypes.DATE,
};
