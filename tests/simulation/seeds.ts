/** `SEED=n` replays one run; else a test takes the seeds from its first on. `SOAK=k` runs k times as many. */
export function seedsFrom(first: number, count: number): number[] {
  const { SEED, SOAK } = process.env;
  if (SEED !== undefined) return [Number(SEED)];
  const times = SOAK === undefined ? 1 : Number(SOAK);
  return Array.from({ length: Math.round(count * times) }, (_, i) => first + i);
}

/** Runs something for each seed; a failure says which. */
export function forSeeds(first: number, count: number, run: (seed: number) => void): void {
  for (const seed of seedsFrom(first, count)) {
    try {
      run(seed);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      throw new Error(`replay with SEED=${seed}: ${message}`, { cause: error });
    }
  }
}
