/**
 * What a speaker finds out about its node, for the operator's preflight checks: nothing here bears on
 * who announces what.
 */
import { readFile, stat } from "node:fs/promises";
import { get } from "node:http";
import {
  MAX_REPORTED,
  type SpeakerStatusStatus,
  type VirtualRouter,
} from "../api/speaker-status.ts";
import type { InterfaceNews } from "./thread-protocol.ts";

/** A virtual router that was not heard for so long is gone: twice what its peers wait at most. */
export const ROUTER_GONE_MS = 120_000;

/** kube-proxy's health, on every node. */
const KUBE_PROXY_HEALTH = "http://127.0.0.1:10256/healthz";
const KUBE_PROXY_PATIENCE_MS = 1_000;

/** Where the kernel's settings and interfaces are found. */
export interface Places {
  readonly settings: string;
}

/** There is a folder here for each interface of our network; /sys may be that of another. */
const PLACES: Places = { settings: "/proc/sys/net/ipv4/conf" };

/** Remembers the virtual routers that were heard, until they fall silent. */
export class RoutersHeard {
  readonly #heard = new Map<string, { readonly router: VirtualRouter; readonly at: number }>();

  /** Takes an advertisement. @returns whether that router is a new one */
  hear(router: VirtualRouter, now: number): boolean {
    const key = `${router.interface} ${router.address} ${router.id}`;
    const isNew = !this.#heard.has(key);
    // Anyone on the LAN can make up routers: no more than fit into the report.
    if (isNew && this.#heard.size >= MAX_REPORTED) return false;
    this.#heard.set(key, { router, at: now });
    return isNew;
  }

  /** Those that were heard of late, always in the same order. */
  list(now: number): VirtualRouter[] {
    for (const [key, { at }] of this.#heard) if (now - at > ROUTER_GONE_MS) this.#heard.delete(key);
    const sorted = [...this.#heard].sort(([a], [b]) => (a < b ? -1 : 1));
    return sorted.map(([, { router }]) => router);
  }
}

/** What a report is made of beside what the kernel is asked. */
export interface Known {
  readonly node: string;
  readonly interfaces: readonly InterfaceNews[];
  readonly virtualRouters: readonly VirtualRouter[];
  /** Names of the accepted keys, the oldest first. */
  readonly keys: readonly string[];
}

/** Gathers what there is to report of the node. What cannot be read counts as the kernel's default. */
export async function gatherFacts(known: Known, places = PLACES): Promise<SpeakerStatusStatus> {
  const { node, interfaces, virtualRouters, keys } = known;
  const usable = interfaces.filter(({ index }) => index !== undefined).slice(0, MAX_REPORTED);
  const setting = (of: string, name: string): Promise<number> =>
    readNumber(`${places.settings}/${of}/${name}`);
  const [arpIgnore, allFilter, hasIPVSInterface, kubeProxy] = await Promise.all([
    setting("all", "arp_ignore"),
    setting("all", "rp_filter"),
    exists(`${places.settings}/kube-ipvs0`),
    askKubeProxy(),
  ]);
  const reported = await Promise.all(
    usable.map(async ({ name, subnets = [] }) => {
      // The kernel takes the greater of the two.
      const own = await setting(name, "rp_filter");
      return {
        name,
        subnets: subnets.slice(0, MAX_REPORTED),
        reversePathFilter: Math.min(2, Math.max(own, allFilter)),
      };
    }),
  );
  return {
    node,
    interfaces: reported,
    arpIgnore: Math.min(8, Math.max(0, arpIgnore)),
    hasIPVSInterface,
    kubeProxy,
    virtualRouters: [...virtualRouters],
    keys: keys.slice(-MAX_REPORTED),
  };
}

async function readNumber(path: string): Promise<number> {
  try {
    return Number.parseInt(await readFile(path, "utf8"), 10) || 0;
  } catch {
    return 0; // no such interface any more, or no such setting
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch {
    return false; // not there
  }
}

/** No answer: there is no kube-proxy, or it is configured to be silent. */
function askKubeProxy(): Promise<SpeakerStatusStatus["kubeProxy"]> {
  const { promise, resolve } = Promise.withResolvers<SpeakerStatusStatus["kubeProxy"]>();
  const signal = AbortSignal.timeout(KUBE_PROXY_PATIENCE_MS);
  get(KUBE_PROXY_HEALTH, { signal, agent: false }, (answer) => {
    answer.resume();
    resolve(answer.statusCode === 200 ? "Healthy" : "Unhealthy");
  }).on("error", () => resolve("NoAnswer"));
  return promise;
}
