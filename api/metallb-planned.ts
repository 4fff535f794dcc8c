/**
 * Fields of MetalLB's spec that have no effect yet. What is accepted must have an effect, so they are
 * not in the CRD, which refuses them as unknown. Whoever gives one its effect moves it from here into
 * the spec in `metallb.ts`, in the same commit. Nothing else may read this file.
 */
import { Type } from "@sinclair/typebox";
import { closed, oneOf, rules, setOf } from "./schema.ts";

/** The fields that wait for their effect. */
export const PLANNED_FIELDS = {
  updateStrategy: Type.Optional(
    Type.Object(
      {
        type: oneOf(["RollingUpdate", "OnDelete"], {
          description: "Replace speakers one node after the other, or when somebody deletes them.",
          default: "RollingUpdate",
        }),
      },
      { ...closed, description: "How speakers are replaced by a new version." },
    ),
  ),
  failureDetection: Type.Optional(
    Type.Object(
      {
        intervalMilliseconds: Type.Integer({
          description: "Time between two heartbeats of a speaker.",
          minimum: 50,
          maximum: 1000,
          default: 100,
        }),
        multiplier: Type.Integer({
          description: "How many heartbeats may be missed before a speaker is suspected.",
          minimum: 2,
          maximum: 20,
          default: 4,
        }),
      },
      { ...closed, description: "How soon a dead speaker is noticed." },
    ),
  ),
  announcementRefreshSeconds: Type.Integer({
    description: "How often an address is announced again for switches and routers that forget.",
    minimum: 10,
    maximum: 3600,
    default: 120,
  }),
  witnessAddresses: Type.Optional(
    setOf(
      Type.String({ minLength: 2, maxLength: 39, ...rules(["isIP(self)", "must be an address"]) }),
      {
        description: "Addresses on the LAN whose answer shows a speaker that it is not cut off.",
        maxItems: 8,
      },
    ),
  ),
  rebalance: oneOf(["Automatic", "Manual"], {
    description: "Whether addresses are spread again over the nodes after a rollout.",
    default: "Automatic",
  }),
  paused: Type.Boolean({
    description: "Leave everything as it is: neither roll out changes nor repair.",
    default: false,
  }),
} as const;
