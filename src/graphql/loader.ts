/**
 * Collects the ids that are asked for within one turn of the event loop and reads them with one query.
 * Remembers nothing beyond that turn, so a subscription never sees an old row.
 */
export function batched<Id extends string | number, Row extends { id: Id }>(
  read: (ids: Id[]) => Promise<Row[]>,
): (id: Id) => Promise<Row | null> {
  let waiting: Promise<Map<Id, Row>> | null = null;
  let ids = new Set<Id>();
  return async (id) => {
    ids.add(id);
    waiting ??= new Promise((resolve) => setImmediate(resolve)).then(async () => {
      const wanted = [...ids];
      ids = new Set();
      waiting = null;
      return new Map((await read(wanted)).map((row) => [row.id, row]));
    });
    return (await waiting).get(id) ?? null;
  };
}
