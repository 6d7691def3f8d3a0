declare const SHARE_OF_CASES: number;

/** How many of so many random cases this run tries: the project `properties` all of them, `default` a part. */
export const casesOf = (all: number): number => Math.ceil(all * SHARE_OF_CASES);
