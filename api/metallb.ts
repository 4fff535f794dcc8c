import { Type, type Static } from "@sinclair/typebox";
import { parseAddress } from "../packet/address/address.ts";
import { rangeOfAddress, specialUse } from "../packet/address/range.ts";
import { conditions } from "./condition.ts";
import type { Fault } from "./fault.ts";
import { AGE, storedApiVersion, type Kind } from "./kind.ts";
import { labels, QUALIFIED_NAME } from "./label.ts";
import type { ObjectMeta } from "./object.ts";
import { podConfig, tolerations } from "./pod.ts";
import { checker, closed, oneOf, rules, setOf } from "./schema.ts";

/** Kinds of update strategy: see the field `updateStrategy`. */
export const UPDATE_STRATEGIES = ["RollingUpdate", "OnDelete"] as const;
/** Answers to the question whether addresses are spread again after a rollout. */
export const REBALANCE_MODES = ["Automatic", "Manual"] as const;
/** Shortest, longest and usual time between two heartbeats of a speaker, in milliseconds. */
export const HEARTBEAT_INTERVAL_MS = { minimum: 50, maximum: 1000, default: 100 } as const;
/** How many missed heartbeats make a speaker suspect: fewest, most, and as a rule. */
export const MISSED_HEARTBEATS = { minimum: 3, maximum: 20, default: 4 } as const;
/** From one announcement of an address to the next while nothing happens, in seconds. */
export const ANNOUNCEMENT_REFRESH_SECONDS = { minimum: 10, maximum: 3600, default: 120 } as const;

/** The one name that a MetalLB object may have. */
export const METALLB_NAME = "metallb";

/** Log levels, the most talkative first. */
export const LOG_LEVELS = ["all", "debug", "info", "warn", "error", "none"] as const;

const IMAGE_REFERENCE =
  "^(([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?|\\[[0-9a-fA-F:]+\\])(:[0-9]+)?/)?" +
  "[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*" +
  "(:[A-Za-z0-9_][-A-Za-z0-9._]{0,127})?(@[a-z0-9]+:[0-9a-f]{32,128})?$";

const image = (program: string) =>
  Type.Optional(
    Type.String({
      description: `Image of the ${program}, such as registry.example/metallb:1.2.`,
      pattern: IMAGE_REFERENCE,
      minLength: 1,
      maxLength: 512,
    }),
  );

const images = Type.Object(
  { controller: image("controller"), speaker: image("speaker") },
  { ...closed, description: "Images to run instead of the operator's own." },
);

/**
 * Expressions run in JavaScript, and the API server checks them as RE2: what only one of them knows,
 * or what they read differently, is refused.
 */
const interfacePattern = Type.String({
  minLength: 1,
  maxLength: 128,
  ...rules(
    ["['eth0'.matches(self)].size() == 1", "must be a regular expression"],
    ["!self.matches('[(][?][^:]')", "(? may only begin a group without capture, (?:"],
    [
      "!self.matches('[\\\\\\\\][^dDwWsSbBtn.*+?^$|(){}\\\\[\\\\]/-]|[[](:|\\\\^?\\\\])')",
      "a backslash may only escape punctuation or begin one of \\d \\D \\w \\W \\s \\S \\b \\B \\t \\n, and neither [:alpha:] nor an empty class is known",
    ],
  ),
});

const updateStrategy = Type.Object(
  {
    type: oneOf(UPDATE_STRATEGIES, {
      description:
        "RollingUpdate: one node after the other, and no further when a speaker does not become ready. OnDelete: when somebody deletes its pod.",
      default: "RollingUpdate",
    }),
  },
  { ...closed, description: "How speakers are replaced by a new version." },
);

const failureDetection = Type.Object(
  {
    intervalMilliseconds: Type.Integer({
      description: "Time between two heartbeats of a speaker.",
      ...HEARTBEAT_INTERVAL_MS,
    }),
    multiplier: Type.Integer({
      description: "How many heartbeats in a row may be missed before a speaker is suspected.",
      ...MISSED_HEARTBEATS,
    }),
  },
  {
    ...closed,
    description:
      "How soon a dead speaker is noticed: after a little more than interval times multiplier.",
  },
);

const witness = Type.String({
  minLength: 2,
  maxLength: 39,
  ...rules(
    ["isIP(self)", "must be an address, without zone and prefix length"],
    [
      "!isIP(self) || ip(self).isGlobalUnicast()",
      "must be the ordinary address of a host: no loopback, link-local, multicast or unspecified one",
    ],
  ),
});

const spec = Type.Object(
  {
    nodeSelector: Type.Optional(labels("Labels of the nodes that run a speaker.")),
    speakerTolerations: Type.Optional(
      tolerations("Taints that speakers tolerate, besides those of control plane nodes."),
    ),
    controllerNodeSelector: Type.Optional(
      labels("Labels of the nodes that may run the controller."),
    ),
    controllerTolerations: Type.Optional(tolerations("Taints that the controller tolerates.")),
    logLevel: oneOf(LOG_LEVELS, {
      description: "How much controller and speakers log.",
      default: "info",
    }),
    loadBalancerClass: Type.Optional(
      Type.String({
        description: "Serve only Services of this class; unset: only those without a class.",
        ...QUALIFIED_NAME,
      }),
    ),
    controllerConfig: Type.Optional(podConfig("Pod of the controller.")),
    speakerConfig: Type.Optional(podConfig("Pods of the speakers.")),
    images: Type.Optional(images),
    ignoreExcludeLoadBalancers: Type.Boolean({
      description:
        "Announce also from nodes labelled node.kubernetes.io/exclude-from-external-load-balancers.",
      default: false,
    }),
    excludedInterfaces: Type.Optional(
      setOf(interfacePattern, {
        description:
          "Regular expressions; an interface whose name matches one is never announced on.",
        maxItems: 32,
      }),
    ),
    updateStrategy: Type.Optional(updateStrategy),
    failureDetection: Type.Optional(failureDetection),
    announcementRefreshSeconds: Type.Integer({
      description:
        "How often an address is announced again while nothing happens, for switches and routers that forget; up to a quarter sooner, by chance.",
      ...ANNOUNCEMENT_REFRESH_SECONDS,
    }),
    witnessAddresses: Type.Optional(
      setOf(witness, {
        description:
          "Hosts of the LAN, besides the nodes' gateways, whose answer shows a speaker that it is not cut off.",
        maxItems: 8,
      }),
    ),
    rebalance: oneOf(REBALANCE_MODES, {
      description:
        "Whether addresses are spread over the nodes again after a rollout; annotation metallb.io/rebalance asks for it.",
      default: "Automatic",
    }),
    paused: Type.Boolean({
      description:
        "Leave everything as it is: roll out no change, let no pool take effect, repair nothing.",
      default: false,
    }),
  },
  { ...closed, description: "What is wanted.", default: {} },
);

const component = (description: string) =>
  Type.Optional(
    Type.Object(
      {
        desired: Type.Integer({ description: "Pods that should run.", minimum: 0 }),
        updated: Type.Integer({ description: "Pods that run the wanted version.", minimum: 0 }),
        ready: Type.Integer({ description: "Pods that can do their work.", minimum: 0 }),
        image: Type.Optional(Type.String({ description: "Image that is wanted." })),
      },
      { ...closed, description },
    ),
  );

const status = Type.Object(
  {
    observedGeneration: Type.Optional(
      Type.Integer({ description: "Generation of the spec that was looked at.", minimum: 0 }),
    ),
    version: Type.Optional(Type.String({ description: "Version of the operator that looked." })),
    conditions: Type.Optional(conditions),
    controller: component("Pods of the controller."),
    speaker: component("Pods of the speakers."),
  },
  { ...closed, description: "What is observed; written by the operator." },
);

/** What is wanted of an installation, defaults filled in. */
export type MetalLBSpec = Static<typeof spec>;
/** What the operator observes of an installation. */
export type MetalLBStatus = Static<typeof status>;
/** A level of logging. */
export type LogLevel = (typeof LOG_LEVELS)[number];

/** An installation of MetalLB, as the API server gives it. */
export interface MetalLB {
  readonly apiVersion: string;
  readonly kind: "MetalLB";
  readonly metadata: ObjectMeta;
  readonly spec: MetalLBSpec;
  readonly status?: MetalLBStatus;
}

const conditionColumn = (type: string, description: string) =>
  ({
    name: type,
    type: "string",
    jsonPath: `.status.conditions[?(@.type=="${type}")].status`,
    description,
  }) as const;

/** The kind MetalLB. */
export const METALLB: Kind = {
  kind: "MetalLB",
  singular: "metallb",
  plural: "metallbs",
  description: "An installation of MetalLB: the operator runs controller and speakers for it.",
  versions: [{ name: "v1beta1", storage: true }],
  spec,
  status,
  rules: [
    {
      rule: `self.metadata.name == '${METALLB_NAME}'`,
      message: `must be ${METALLB_NAME}: there is one installation in a cluster`,
      fieldPath: ".metadata.name",
    },
  ],
  columns: [
    conditionColumn("Available", "Whether controller and speakers run."),
    conditionColumn("Degraded", "Whether something is wrong."),
    conditionColumn("Progressing", "Whether a change is being rolled out."),
    AGE,
  ],
};

/** `apiVersion` of the MetalLB objects that we read and write. */
export const METALLB_API_VERSION = storedApiVersion(METALLB);

const checkSpec = checker(spec, "spec");

/**
 * Finds everything that is wrong with the spec of a MetalLB object: what the CRD refuses by schema,
 * and expressions that do not compile. Other rules of the CRD are the API server's alone.
 * @returns empty when the spec can be used
 */
export function validateMetalLB(value: unknown): readonly Fault[] {
  const checked = checkSpec(value);
  if (!checked.ok) return checked.faults;
  const { excludedInterfaces = [], witnessAddresses = [] } = checked.value;
  return [...patternFaults(excludedInterfaces), ...witnessFaults(witnessAddresses)];
}

function witnessFaults(addresses: readonly string[]): Fault[] {
  return addresses.flatMap((text, i): Fault[] => {
    const fault = { field: `spec.witnessAddresses[${i}]`, value: text };
    const parsed = parseAddress(text);
    if (!parsed.ok) return [{ ...fault, reason: parsed.reason, message: parsed.message }];
    const special = specialUse(rangeOfAddress(parsed.value));
    if (special === undefined) return [];
    const message = `belongs to ${special.prefix} (${special.use}): give the address of a host of the LAN`;
    return [{ ...fault, reason: "specialUse", message }];
  });
}

function patternFaults(patterns: readonly string[]): Fault[] {
  return patterns.flatMap((pattern, i) => {
    const message = whyNoExpression(pattern);
    const field = `spec.excludedInterfaces[${i}]`;
    return message === undefined
      ? []
      : [{ field, value: pattern, reason: "regularExpression" as const, message }];
  });
}

function whyNoExpression(pattern: string): string | undefined {
  try {
    new RegExp(pattern);
    return undefined;
  } catch (error) {
    return `must be a regular expression: ${(error as Error).message}`;
  }
}
