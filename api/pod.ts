/** What can be said about the pods that we run, in the words of Kubernetes (core/v1). */
import { Type, type Static, type TSchema } from "@sinclair/typebox";
import {
  EXPRESSION_RULES,
  LABEL_VALUE,
  LABEL_NAME,
  labelSelector,
  QUALIFIED_NAME,
  SUBDOMAIN_NAME,
} from "./label.ts";
import { closed, mapOf, oneOf, rules } from "./schema.ts";

const MAX_TOLERATIONS = 32;
const MAX_TERMS = 16;
const MAX_VALUES = 64;

const toleration = Type.Object(
  {
    key: Type.Optional(
      Type.String({ description: "Key of the taint; none: every taint.", ...QUALIFIED_NAME }),
    ),
    operator: Type.Optional(
      oneOf(["Exists", "Equal"], {
        description: "How the taint's value is compared; Equal if unset.",
      }),
    ),
    value: Type.Optional(
      Type.String({ description: "Value of the taint, for Equal.", ...LABEL_VALUE }),
    ),
    effect: Type.Optional(
      oneOf(["NoSchedule", "PreferNoSchedule", "NoExecute"], {
        description: "Effect of the taint; none: every effect.",
      }),
    ),
    tolerationSeconds: Type.Optional(
      Type.Integer({ description: "How long a NoExecute taint is tolerated; none: for ever." }),
    ),
  },
  {
    ...closed,
    title: "Toleration (core/v1)",
    ...rules(
      [
        "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
        "without a key the operator must be Exists",
      ],
      [
        "!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''",
        "operator Exists takes no value",
      ],
      [
        "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
        "tolerationSeconds needs effect NoExecute",
      ],
    ),
  },
);

/** Describes a list of tolerations. */
export const tolerations = (description: string) =>
  Type.Array(toleration, {
    description,
    maxItems: MAX_TOLERATIONS,
    "x-kubernetes-list-type": "atomic",
  });

const list = <T extends TSchema>(item: T, description: string, more: { minItems?: number } = {}) =>
  Type.Array(item, {
    description,
    maxItems: MAX_TERMS,
    "x-kubernetes-list-type": "atomic",
    ...more,
  });

const weight = Type.Integer({ description: "How much it counts.", minimum: 1, maximum: 100 });

const nodeRequirement = Type.Object(
  {
    key: Type.String({ description: "Key of the label or field.", ...QUALIFIED_NAME }),
    operator: oneOf(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"], {
      description: "How it is compared with the values.",
    }),
    values: Type.Optional(
      Type.Array(Type.String(LABEL_VALUE), {
        description: "Values; one integer for Gt and Lt.",
        maxItems: MAX_VALUES,
        "x-kubernetes-list-type": "atomic",
      }),
    ),
  },
  {
    ...closed,
    "x-kubernetes-validations": [
      ...EXPRESSION_RULES["x-kubernetes-validations"],
      ...rules([
        "!(self.operator in ['Gt', 'Lt']) || (has(self.values) && self.values.size() == 1 && self.values[0].matches('^-?[0-9]+$'))",
        "operators Gt and Lt need one value, an integer",
      ])["x-kubernetes-validations"],
    ],
  },
);

const nodeTerm = (description: string) =>
  Type.Object(
    {
      matchExpressions: Type.Optional(list(nodeRequirement, "Requirements on labels.")),
      matchFields: Type.Optional(list(nodeRequirement, "Requirements on fields.")),
    },
    { ...closed, description, "x-kubernetes-map-type": "atomic" },
  );

const nodeAffinity = Type.Object(
  {
    requiredDuringSchedulingIgnoredDuringExecution: Type.Optional(
      Type.Object(
        {
          nodeSelectorTerms: list(nodeTerm("Requirements that all hold."), "One must hold.", {
            minItems: 1,
          }),
        },
        {
          ...closed,
          description: "Nodes that pods must run on.",
          "x-kubernetes-map-type": "atomic",
        },
      ),
    ),
    preferredDuringSchedulingIgnoredDuringExecution: Type.Optional(
      list(
        Type.Object({ weight, preference: nodeTerm("Nodes that are preferred.") }, closed),
        "Nodes that pods should run on.",
      ),
    ),
  },
  { ...closed, description: "Attraction to nodes." },
);

const podTerm = (description?: string) =>
  Type.Object(
    {
      topologyKey: Type.String({
        description: "Node label whose equal values mean the same place.",
        minLength: 1,
        ...QUALIFIED_NAME,
      }),
      labelSelector: Type.Optional(labelSelector("Which pods.")),
      namespaces: Type.Optional(list(Type.String(LABEL_NAME), "Namespaces of the pods.")),
      namespaceSelector: Type.Optional(labelSelector("Namespaces of the pods, by label.")),
      matchLabelKeys: Type.Optional(
        list(Type.String(QUALIFIED_NAME), "Label keys whose value must be that of the pod itself."),
      ),
      mismatchLabelKeys: Type.Optional(
        list(Type.String(QUALIFIED_NAME), "Label keys whose value must differ from the pod's own."),
      ),
    },
    description === undefined ? closed : { ...closed, description },
  );

const podAffinity = (description: string) =>
  Type.Object(
    {
      requiredDuringSchedulingIgnoredDuringExecution: Type.Optional(
        list(podTerm(), "Terms that must hold."),
      ),
      preferredDuringSchedulingIgnoredDuringExecution: Type.Optional(
        list(
          Type.Object({ weight, podAffinityTerm: podTerm("The term.") }, closed),
          "Terms that should hold.",
        ),
      ),
    },
    { ...closed, description },
  );

const affinity = Type.Object(
  {
    nodeAffinity: Type.Optional(nodeAffinity),
    podAffinity: Type.Optional(podAffinity("Attraction to other pods.")),
    podAntiAffinity: Type.Optional(podAffinity("Distance from other pods.")),
  },
  {
    ...closed,
    title: "Affinity (core/v1)",
    description: "Scheduling constraints of the pods; replaces ours.",
  },
);

const quantity = Type.Unsafe<number | string>({
  anyOf: [{ type: "integer" }, { type: "string" }],
  minimum: 0,
  maxLength: 32,
  pattern: "^[+]?([0-9]+([.][0-9]*)?|[.][0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$",
  "x-kubernetes-int-or-string": true,
});

const quantities = (description: string) => mapOf(quantity, { description, maxProperties: 8 });

const resources = Type.Object(
  {
    requests: Type.Optional(quantities("What is set aside for the container.")),
    limits: Type.Optional(quantities("What the container may use at most.")),
  },
  {
    ...closed,
    description: "Compute resources of the main container; replaces ours.",
    ...rules([
      "!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) || quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0)",
      "no request may exceed the limit of the same name",
    ]),
  },
);

/** Describes what can be set about the pods of one program. */
export const podConfig = (description: string) =>
  Type.Object(
    {
      priorityClassName: Type.Optional(
        Type.String({ description: "PriorityClass of the pods.", ...SUBDOMAIN_NAME }),
      ),
      runtimeClassName: Type.Optional(
        Type.String({ description: "RuntimeClass of the pods.", ...SUBDOMAIN_NAME }),
      ),
      affinity: Type.Optional(affinity),
      annotations: Type.Optional(
        mapOf(Type.String({ maxLength: 65536 }), {
          description: "Annotations of the pods.",
          maxProperties: 64,
          ...rules([
            "self.all(key, !format.qualifiedName().validate(key.lowerAscii()).hasValue())",
            "each key must be an annotation key such as example.com/owner",
          ]),
        }),
      ),
      resources: Type.Optional(resources),
    },
    { ...closed, description },
  );

/** What can be set about the pods of one program. */
export type PodConfig = Static<ReturnType<typeof podConfig>>;
