export const SCHEMA: string;
export function commitSql(k: number): string;
export function expectedRows(k: number): Record<'account' | 'entry' | 'head', Record<string, unknown>[]>;
