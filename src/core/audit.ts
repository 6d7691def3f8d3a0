import type { AuditEventRow, Models } from '../models/index.js';

/** Writes down who did what. Every change of a record and every download goes through here. */
export class Audit {
  constructor(
    private readonly models: Models,
    private readonly now: () => Date,
  ) {}

  /** @param action noun and verb, such as `backup.delete`; @param details never secrets */
  async record(
    actor: string,
    action: string,
    subject: string | number | null,
    details: Record<string, unknown> = {},
  ): Promise<AuditEventRow> {
    return this.models.AuditEvent.create({
      at: this.now(),
      actor,
      action,
      subject: subject === null ? null : String(subject),
      details,
    });
  }
}
