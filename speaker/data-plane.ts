/**
 * Whether this node's kube-proxy can send connections on: it says so at `/healthz` of its port 10256,
 * with 503 when its rules are out of date or its node is being removed (KEP-3836). No answer tells
 * nothing: there are clusters without kube-proxy.
 */
import { get } from "node:http";

/** What was answered: 200, 503, or anything else, nothing among it. */
export type DataPlaneAnswer = "ready" | "notReady" | "unknown";

/** So many times in a row it has to say no: once may be a restart. */
const PATIENCE = 2;

/** How often it is asked, and how long it may think. */
const INTERVAL_MS = 2000;
const TIMEOUT_MS = 1500;

/** How many times in a row it said no. */
export interface DataPlaneState {
  readonly refusals: number;
  readonly ready: boolean;
}

/** Before the first answer. */
export const DATA_PLANE_UNKNOWN: DataPlaneState = { refusals: 0, ready: true };

/** Takes an answer: not ready after two refusals in a row, ready again at once. */
export function stepDataPlane(state: DataPlaneState, answer: DataPlaneAnswer): DataPlaneState {
  if (answer !== "notReady") return DATA_PLANE_UNKNOWN;
  const refusals = Math.min(state.refusals + 1, PATIENCE);
  return { refusals, ready: refusals < PATIENCE };
}

/** Asks once. */
export function askDataPlane(url: string, signal: AbortSignal): Promise<DataPlaneAnswer> {
  const answer = Promise.withResolvers<DataPlaneAnswer>();
  const request = get(url, { signal, timeout: TIMEOUT_MS, agent: false }, (response) => {
    response.resume();
    const { statusCode } = response;
    answer.resolve(statusCode === 200 ? "ready" : statusCode === 503 ? "notReady" : "unknown");
  });
  request.on("timeout", () => request.destroy());
  // Nobody listens, or not in time: as good as no answer.
  request.on("error", () => answer.resolve("unknown"));
  return answer.promise;
}

/** What a watch is given. */
export interface DataPlaneWatchOptions {
  readonly url: string;
  /** Called at each change; it begins as ready. */
  readonly changed: (ready: boolean) => void;
  readonly intervalMs?: number;
}

/** Asks again and again until told to end. */
export async function watchDataPlane(
  { url, changed, intervalMs = INTERVAL_MS }: DataPlaneWatchOptions,
  signal: AbortSignal,
): Promise<void> {
  let state = DATA_PLANE_UNKNOWN;
  while (!signal.aborted) {
    const before = state.ready;
    state = stepDataPlane(state, await askDataPlane(url, signal));
    if (state.ready !== before) changed(state.ready);
    await pause(intervalMs, signal);
  }
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
