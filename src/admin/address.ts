import { useSearchParams } from 'wouter';

/** What the filters of a page are, kept in its address: so a link shows the same, and Back goes back. */
export interface Filters {
  get: (name: string) => string | null;
  all: (name: string) => string[];
  set: (values: Record<string, string | string[] | null>) => void;
  /** The whole of it, for what depends on any. */
  text: string;
  /** Whether there is any but the order. */
  any: boolean;
}

export function useFilters(): Filters {
  const [parameters, setParameters] = useSearchParams();
  return {
    get: (name) => parameters.get(name),
    all: (name) => parameters.getAll(name),
    set: (values) =>
      setParameters(
        (present) => {
          const next = new URLSearchParams(present);
          for (const [name, value] of Object.entries(values)) {
            next.delete(name);
            for (const one of [value ?? []].flat()) if (one !== '') next.append(name, one);
          }
          return next;
        },
        { replace: true },
      ),
    text: parameters.toString(),
    any: [...parameters.keys()].some((name) => name !== 'order'),
  };
}
