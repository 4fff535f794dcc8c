/** What is read of the cluster now and then, because nobody needs to hear of its changes at once. */
import type { Client } from "../kubernetes/client.ts";
import { LEASES, SERVICE_CIDRS } from "../kubernetes/resources.ts";

/** How old what is known may be. */
const STALE_MS = 300_000;

/** The lock that kube-vip holds while it announces Services. */
const KUBE_VIP_LOCK = { name: "plndr-svcs-lock", namespace: "kube-system" };
/** A lock that was not renewed for so long is nobody's. */
const LOCK_EXPIRES_MS = 60_000;

/** What was read. */
export interface Surroundings {
  readonly serviceNetworks: readonly string[];
  readonly hasKubeVipLock: boolean;
}

/** Reads the surroundings, and remembers them for a while. */
export class SurroundingsReader {
  readonly #client: Client;
  readonly #now: () => Date;
  #known: Surroundings = { serviceNetworks: [], hasKubeVipLock: false };
  #readAt = -Infinity;

  /** Knows nothing yet. */
  constructor(client: Client, now: () => Date) {
    this.#client = client;
    this.#now = now;
  }

  /** When to ask again, though nothing happens. */
  readonly againMs = STALE_MS;

  /** Gives what is known, fresh enough. What cannot be read stays as it was: it is for advice only. */
  async read(signal: AbortSignal): Promise<Surroundings> {
    const now = this.#now().getTime();
    // A clock that was set back is no reason to wait until it is there again.
    if (now >= this.#readAt && now - this.#readAt < STALE_MS) return this.#known;
    this.#readAt = now;
    const [serviceNetworks, hasKubeVipLock] = await Promise.all([
      this.#serviceNetworks(signal).catch(() => this.#known.serviceNetworks),
      this.#hasKubeVipLock(now, signal).catch(() => this.#known.hasKubeVipLock),
    ]);
    this.#known = { serviceNetworks, hasKubeVipLock };
    return this.#known;
  }

  async #serviceNetworks(signal: AbortSignal): Promise<readonly string[]> {
    const { items } = await this.#client.list(SERVICE_CIDRS, {}, signal);
    return items.flatMap(({ spec }) => spec?.cidrs ?? []);
  }

  async #hasKubeVipLock(now: number, signal: AbortSignal): Promise<boolean> {
    const lease = await this.#client.get(LEASES, KUBE_VIP_LOCK, signal);
    const renewed = Date.parse(lease?.spec?.renewTime ?? "");
    return now - renewed < LOCK_EXPIRES_MS;
  }
}
