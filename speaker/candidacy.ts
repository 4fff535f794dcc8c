import type { Address } from "../packet/address/address.ts";

/**
 * Who may answer for an address, as the API and the members' own words on their links have it.
 * Whether a candidate is alive, draining or deaf is not part of it: ownership knows that itself.
 */
export interface Candidacy {
  /** This node could answer at all: it has a link that reaches the address. Else it stops at once. */
  readonly usable: boolean;
  /** Ranks first of those that could answer were the Service ready: it probes at assignment. */
  readonly prober: string | undefined;
  /** Gives the candidate at a place, best rank first; undefined past the last. */
  heir(place: number): string | undefined;
  /** Tells whether a node is among them. */
  includes(node: string): boolean;
}

/** Gives the candidacy for an address that the API knows, undefined for others. */
export type Candidacies = (address: Address) => Candidacy | undefined;

/** Makes a candidacy of names in order of rank. */
export function listCandidacy(
  ranked: readonly string[],
  more: { readonly usable?: boolean; readonly prober?: string | undefined } = {},
): Candidacy {
  const names = new Set(ranked);
  return {
    usable: more.usable ?? true,
    prober: "prober" in more ? more.prober : ranked[0],
    heir: (place) => ranked[place],
    includes: (node) => names.has(node),
  };
}
