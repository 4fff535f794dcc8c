/**
 * Leader election by a Lease of coordination.k8s.io.
 *
 * - Other people's clocks are never trusted: a lease counts as abandoned when *we* have not seen it
 *   change for its duration, by our monotonic clock.
 * - The holder stops considering itself leader `renewDeadlineMs` after the *start* of its last
 *   successful renewal, which is before any other contender may take over.
 * - A process that was frozen finds that out by itself: {@link LeaderElector.assertLeading} reads the
 *   monotonic clock, which runs on while the process is stopped. `client.guarded(() =>
 *   elector.assertLeading())` calls it right before each write leaves.
 * - On shutdown the lease is released, so that the next one takes over at once.
 */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type { OwnerReference } from "../api/object.ts";
import { abortReason, sleep, systemClock, type Clock, type Timer } from "./clock.ts";
import type { Client } from "./client.ts";
import { OperatorError } from "./errors.ts";
import { silentLogger, type Logger } from "./logging.ts";
import { Metrics } from "./metrics.ts";
import { LEASES, type Lease } from "./resources.ts";

/** Which lease, and how fast. */
export interface LeaderElectorOptions {
  /** An urgent one where the program has many requests under way. */
  readonly client: Pick<Client, "get" | "create" | "replace">;
  readonly name: string;
  readonly namespace: string;
  /** Differs between contenders; host name and a random part without it. */
  readonly identity?: string;
  /** Others wait this long after the last sign of life; 15 s. */
  readonly leaseDurationMs?: number;
  /** We stop leading this long after our last renewal; 10 s. */
  readonly renewDeadlineMs?: number;
  /** Time between two attempts; 2 s. */
  readonly retryPeriodMs?: number;
  /**
   * Time between two looks of one who waits; as `retryPeriodMs`. The shorter, the sooner after the
   * lease's duration it takes over, for the duration counts from when it saw the last renewal.
   */
  readonly standbyPeriodMs?: number;
  /** The object that the lease goes with: garbage collection removes it after that one. */
  readonly owner?: () => OwnerReference | undefined;
  readonly logger?: Logger;
  readonly metrics?: Metrics;
  readonly clock?: Clock;
}

const LEASE_DURATION_MS = 15_000;
const RENEW_DEADLINE_MS = 10_000;
const RETRY_PERIOD_MS = 2_000;
/** Share of the renewal deadline that one attempt may take. */
const ATTEMPT_SHARE = 0.4;
/** Attempts of those who wait are spread by this share, so that they do not march in step. */
const JITTER = 0.2;
/** After a renewal that failed there is no time to lose. */
const RETRY_SOON_MS = 250;

/** One contender. */
export class LeaderElector {
  /** Who we are in the lease. */
  readonly identity: string;
  readonly #options: LeaderElectorOptions;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #durationMs: number;
  readonly #deadlineMs: number;
  readonly #periodMs: number;
  readonly #standbyMs: number;
  readonly #leading: (value: number) => void;
  /** False when the lease may have changed since we saw it. */
  #isFresh = false;
  /** The lease as last seen, and when it last changed by our clock. */
  #seen: { readonly lease: Lease; readonly atMs: number } | undefined;
  #renewedAtMs: number | undefined;

  /** @throws TypeError when the times do not fit each other. */
  constructor(options: LeaderElectorOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#logger = (options.logger ?? silentLogger).child({
      lease: `${options.namespace}/${options.name}`,
    });
    this.identity = options.identity ?? `${hostname()}_${randomUUID()}`;
    this.#durationMs = options.leaseDurationMs ?? LEASE_DURATION_MS;
    this.#deadlineMs = options.renewDeadlineMs ?? RENEW_DEADLINE_MS;
    this.#periodMs = options.retryPeriodMs ?? RETRY_PERIOD_MS;
    this.#standbyMs = options.standbyPeriodMs ?? this.#periodMs;
    if (!(
      this.#durationMs > this.#deadlineMs && this.#deadlineMs > this.#periodMs * (1 + JITTER)
    )) {
      throw new TypeError(
        `lease times must fall: leaseDurationMs ${this.#durationMs} > renewDeadlineMs ${this.#deadlineMs} > 1.2 × retryPeriodMs ${this.#periodMs}`,
      );
    }
    const gauge = (options.metrics ?? new Metrics()).gauge(
      "leader_election_master_status",
      "1 while we lead.",
      {
        name: [options.name],
      },
    );
    this.#leading = (value) => gauge.set({ name: options.name }, value);
  }

  /** True while our last renewal is younger than the deadline. */
  get isLeading(): boolean {
    return (
      this.#renewedAtMs !== undefined &&
      this.#clock.monotonicMs() - this.#renewedAtMs < this.#deadlineMs
    );
  }

  /** Who holds the lease as far as we know; undefined when nobody does. */
  get holder(): string | undefined {
    return this.#seen?.lease.spec?.holderIdentity ?? undefined;
  }

  /** @throws OperatorError `NotLeading`. */
  assertLeading(): void {
    if (!this.isLeading)
      throw new OperatorError("NotLeading", `writing as leader of ${this.#options.name}`);
  }

  /**
   * Waits until we lead, runs `lead`, and resolves when the signal aborts or the lease is lost. The
   * signal of `lead` aborts at both; the lease is released once `lead` has ended.
   * @throws OperatorError `NotLeading` when the lease was lost: end the process, a new one starts clean.
   */
  async run(lead: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
    if (!(await this.#acquire(signal))) return;
    this.#logger.info("leading", { identity: this.identity });
    this.#leading(1);
    const leadership = new AbortController();
    const onAbort = (): void => leadership.abort(abortReason(signal));
    signal.addEventListener("abort", onAbort, { once: true });
    const renewing = this.#renew(leadership);
    try {
      await lead(leadership.signal);
    } finally {
      leadership.abort();
      signal.removeEventListener("abort", onAbort);
      await renewing;
      this.#leading(0);
      const holds = this.isLeading;
      // Before the release, not after: the next one may lead before we have its answer.
      this.#renewedAtMs = undefined;
      if (holds) await this.#release();
    }
    if (!signal.aborted) throw new OperatorError("NotLeading", `leading ${this.#options.name}`);
  }

  async #acquire(signal: AbortSignal): Promise<boolean> {
    while (!signal.aborted) {
      if (await this.#attempt(signal)) return true;
      if (!(await this.#pause(this.#standbyMs, signal))) return false;
    }
    return false;
  }

  /** Renews until the leadership ends; ends it when the deadline passes without a renewal. */
  async #renew(leadership: AbortController): Promise<void> {
    const { signal } = leadership;
    let timer: Timer | undefined;
    // A timer of its own: an attempt that hangs must not outlive the deadline.
    const watch = (): void => {
      if (signal.aborted) return;
      if (!this.isLeading) {
        this.#logger.error("lease lost", { holder: this.holder });
        leadership.abort(new OperatorError("NotLeading", `leading ${this.#options.name}`));
        return;
      }
      const leftMs = (this.#renewedAtMs ?? 0) + this.#deadlineMs - this.#clock.monotonicMs();
      timer = this.#clock.setTimer(Math.max(1, leftMs), watch);
    };
    watch();
    signal.addEventListener("abort", () => timer?.cancel(), { once: true });
    let kept = true;
    while (await this.#pause(kept ? this.#periodMs : RETRY_SOON_MS, signal, 0)) {
      kept = await this.#attempt(signal);
      if (!kept && this.holder !== undefined && this.holder !== this.identity) {
        this.#renewedAtMs = undefined;
        watch();
      }
    }
  }

  async #pause(periodMs: number, signal: AbortSignal, jitter = JITTER): Promise<boolean> {
    try {
      await sleep(this.#clock, periodMs * (1 + jitter * Math.random()), signal);
      return true;
    } catch {
      // Only the signal ends the sleep early.
      return false;
    }
  }

  /** Tries once to get or keep the lease. */
  async #attempt(signal: AbortSignal): Promise<boolean> {
    const startedAt = this.#clock.monotonicMs();
    // Shorter than the deadline: a dead connection must leave time for another.
    const limitMs = this.#deadlineMs * ATTEMPT_SHARE;
    const within = AbortSignal.any([signal, AbortSignal.timeout(limitMs)]);
    try {
      const { client, name, namespace } = this.#options;
      // Who holds it need not read it first: nobody else should have written it.
      const held = this.#isFresh && this.isLeading ? this.#seen?.lease : undefined;
      const found = held ?? (await client.get(LEASES, { name, namespace }, within));
      this.#isFresh = false;
      if (found) this.#observe(found);
      // One that was deleted under its holder is still held, until that one finds out.
      const last = found ?? this.#seen?.lease;
      if (last && !this.#mayTake(last)) return false;
      const wanted = this.#claim(found);
      const written = found
        ? await client.replace(LEASES, wanted, within)
        : await client.create(LEASES, wanted, within);
      this.#observe(written);
      this.#isFresh = true;
      this.#renewedAtMs = startedAt;
      // False when the answer took too long: we may have been frozen meanwhile.
      return this.isLeading;
    } catch (error) {
      if (!signal.aborted) this.#logger.debug("lease attempt failed", { error });
      // Failed, or somebody else was faster: the next attempt reads anew.
      return false;
    }
  }

  #observe(lease: Lease): void {
    const seen = this.#seen?.lease.metadata.resourceVersion;
    if (seen !== undefined && seen === lease.metadata.resourceVersion) return;
    this.#seen = { lease, atMs: this.#clock.monotonicMs() };
  }

  #mayTake(lease: Lease): boolean {
    const holder = lease.spec?.holderIdentity;
    if (!holder || holder === this.identity) return true;
    const durationMs = (lease.spec.leaseDurationSeconds ?? 0) * 1000;
    const seenAt = this.#seen?.atMs ?? this.#clock.monotonicMs();
    return this.#clock.monotonicMs() - seenAt > Math.max(durationMs, this.#durationMs);
  }

  #claim(found: Lease | undefined): Lease {
    const { name, namespace } = this.#options;
    const now = microTime(this.#clock.wallMs());
    const ours = found?.spec?.holderIdentity === this.identity;
    const transitions = (found?.spec?.leaseTransitions ?? 0) + (found && !ours ? 1 : 0);
    const owner = this.#options.owner?.();
    return {
      metadata: {
        ...(found?.metadata ?? { name, namespace }),
        ...(owner !== undefined && { ownerReferences: [owner] }),
      },
      spec: {
        holderIdentity: this.identity,
        leaseDurationSeconds: Math.ceil(this.#durationMs / 1000),
        acquireTime: (ours ? found.spec.acquireTime : undefined) ?? now,
        renewTime: now,
        leaseTransitions: transitions,
      },
    };
  }

  async #release(): Promise<void> {
    const { client } = this.#options;
    const lease = this.#seen?.lease;
    if (lease?.spec?.holderIdentity !== this.identity) return;
    const released: Lease = {
      ...lease,
      spec: {
        ...lease.spec,
        holderIdentity: "",
        leaseDurationSeconds: 1,
        renewTime: microTime(this.#clock.wallMs()),
      },
    };
    try {
      await client.replace(LEASES, released, AbortSignal.timeout(2_000));
      this.#logger.info("lease released");
    } catch (error) {
      // The others find out by themselves after the lease's duration.
      this.#logger.info("lease not released", { error });
    }
  }
}

/** A timestamp with microseconds, as Kubernetes' MicroTime wants it. */
export function microTime(wallMs: number): string {
  return new Date(wallMs).toISOString().replace("Z", "000Z");
}
