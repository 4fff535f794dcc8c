/** Metrics of the controller, under MetalLB's names. */
import type { Metrics } from "../kubernetes/metrics.ts";
import type { Convergence } from "./convergence.ts";
import { FAMILIES } from "./pool.ts";

const POOL = { pool: [] } as const;

/** What dashboards know of pools and configuration. */
export class ControllerMetrics {
  readonly #total: readonly PoolGauge[];
  readonly #inUse: readonly PoolGauge[];
  readonly #waiting: { set(value: number): void };
  readonly #updates: { inc(): void };
  readonly #errors: { inc(): void };
  readonly #loaded: { set(value: number): void };
  readonly #stale: { set(value: number): void };
  #pools = new Set<string>();

  /** Registers everything, at zero. */
  constructor(metrics: Metrics) {
    const gauge = (name: string, help: string): PoolGauge =>
      metrics.gauge<"pool">(name, help, POOL);
    const three = (name: string, help: string): readonly PoolGauge[] => [
      gauge(`metallb_allocator_${name}`, `${help}.`),
      gauge(`metallb_allocator_ipv4_${name}`, `${help}, IPv4.`),
      gauge(`metallb_allocator_ipv6_${name}`, `${help}, IPv6.`),
    ];
    this.#total = three("addresses_total", "Addresses of a pool that may be assigned");
    this.#inUse = three("addresses_in_use_total", "Addresses of a pool that Services have");
    this.#waiting = metrics.gauge(
      "metallb_allocator_services_waiting",
      "Services without address.",
    );
    this.#updates = metrics.counter(
      "metallb_k8s_client_updates_total",
      "Objects that were looked at because something about them changed.",
    );
    this.#errors = metrics.counter(
      "metallb_k8s_client_update_errors_total",
      "Looks that failed and are repeated.",
    );
    this.#loaded = metrics.gauge(
      "metallb_k8s_client_config_loaded_bool",
      "1 with a configuration.",
    );
    this.#stale = metrics.gauge(
      "metallb_k8s_client_config_stale_bool",
      "1 when the last was refused.",
    );
  }

  /** Counts one look at an object, and whether it failed. */
  async counted<T>(look: () => Promise<T>): Promise<T> {
    this.#updates.inc();
    try {
      return await look();
    } catch (error) {
      this.#errors.inc();
      throw error;
    }
  }

  /** Shows whether the last configuration was taken. */
  configuration(state: "taken" | "refused"): void {
    if (state === "taken") this.#loaded.set(1);
    this.#stale.set(state === "refused" ? 1 : 0);
  }

  /** Shows how full the pools are; pools that are gone disappear. */
  show(convergence: Convergence): void {
    const { allocator } = convergence;
    const names = new Set<string>();
    for (const { name: pool, spaces } of allocator.pools) {
      names.add(pool);
      const inUse = FAMILIES.map((family) => allocator.usage(pool, family).assigned);
      const total = FAMILIES.map((family) => Number(spaces[family].size));
      set(this.#total, pool, total);
      set(this.#inUse, pool, inUse);
    }
    for (const pool of this.#pools) {
      if (names.has(pool)) continue;
      for (const gauge of [...this.#total, ...this.#inUse]) gauge.remove({ pool });
    }
    this.#pools = names;
    this.#waiting.set(convergence.unserved);
  }
}

interface PoolGauge {
  set(labels: { pool: string }, value: number): void;
  remove(labels: { pool: string }): void;
}

/** Sets the sum and each family. */
function set(gauges: readonly PoolGauge[], pool: string, families: readonly number[]): void {
  const values = [families.reduce((sum, each) => sum + each, 0), ...families];
  for (const [index, gauge] of gauges.entries()) gauge.set({ pool }, values[index] ?? 0);
}
