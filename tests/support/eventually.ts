import { setTimeout as delay } from "node:timers/promises";

const INTERVAL_MS = 10;

/**
 * Waits until something holds: calls `probe` until it neither throws nor gives `false`, and gives
 * what it gave then.
 * @throws when the deadline passes: what the last call threw, or that it still gave `false`
 */
export async function eventually<T>(
  probe: () => T | Promise<T>,
  { deadlineMs = 10_000 }: { readonly deadlineMs?: number } = {},
): Promise<Exclude<T, false>> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    try {
      const value = await probe();
      if (value !== false) return value as Exclude<T, false>;
      if (performance.now() > end) throw new Error("the condition did not come to hold in time");
    } catch (error) {
      if (performance.now() > end) throw error;
    }
    await delay(INTERVAL_MS);
  }
}
