import { type Attributes, DataTypes, type FindOptions, type Model, type ModelStatic } from 'sequelize';

/**
 * Rows without the model around them, of these columns alone: for lists of thousands, which the model would take ten times
 * as long for. Values are as the model gives them.
 */
export async function readPlain<Row extends Model, Column extends keyof Attributes<Row> & string>(
  model: ModelStatic<Row>,
  columns: readonly Column[],
  options: Pick<FindOptions<Attributes<Row>>, 'where' | 'order' | 'limit' | 'offset' | 'transaction'> = {},
): Promise<Pick<Row, Column & keyof Row>[]> {
  const rows = await model.unscoped().findAll({ ...options, attributes: [...columns], raw: true });
  const plain = rows as unknown as Record<string, unknown>[];
  for (const column of columns) {
    const read = reader(model.getAttributes()[column].type);
    if (read === null) continue;
    for (const row of plain) if (row[column] !== null) row[column] = read(row[column]);
  }
  return plain as unknown as Pick<Row, Column & keyof Row>[];
}

/** What a value needs that the control database gives in a form of its own: SQLite dates, truth and JSON, PostgreSQL large numbers. */
function reader(type: unknown): ((value: unknown) => unknown) | null {
  if (type instanceof DataTypes.DATE) return (value) => new Date(value as string | Date);
  if (type instanceof DataTypes.BOOLEAN) return Boolean;
  if (type instanceof DataTypes.JSON)
    return (value) => (typeof value === 'string' ? JSON.parse(value) : value) as unknown;
  return type instanceof DataTypes.BIGINT ? Number : null;
}

/** How many rows there are in each state; states without any are left out. */
export async function countByStatus<Status extends string>(
  model: ModelStatic<Model<{ status: Status }>>,
): Promise<{ status: Status; count: number }[]> {
  const rows = await model.unscoped().count({ attributes: ['status'], group: ['status'] });
  return rows.map(({ status, count }) => ({ status: status as Status, count: Number(count) }));
}
