/** Labels, selectors over them, and the names that Kubernetes allows. */
import { Type, type Static } from "@sinclair/typebox";
import { closed, mapOf, oneOf, rules } from "./schema.ts";

const NAME_PART = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?";
const DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const DNS_SUBDOMAIN = `${DNS_LABEL}([.]${DNS_LABEL})*`;

/** A name with an optional DNS prefix: keys of labels and annotations, classes of load balancers. */
export const QUALIFIED_NAME = { pattern: `^(${DNS_SUBDOMAIN}/)?${NAME_PART}$`, maxLength: 317 };
/** The value of a label. */
export const LABEL_VALUE = { pattern: `^(${NAME_PART})?$`, maxLength: 63 };
/** The name of most objects. */
export const SUBDOMAIN_NAME = { pattern: `^${DNS_SUBDOMAIN}$`, minLength: 1, maxLength: 253 };
/** The name of a Namespace. */
export const LABEL_NAME = { pattern: `^${DNS_LABEL}$`, minLength: 1, maxLength: 63 };

const MAX_TERMS = 16;
const MAX_VALUES = 64;

/** Describes a map of labels. */
export const labels = (description: string) =>
  mapOf(Type.String(LABEL_VALUE), {
    description,
    maxProperties: MAX_TERMS,
    ...rules([
      "self.all(key, !format.qualifiedName().validate(key).hasValue())",
      "each key must be a label key such as kubernetes.io/os",
    ]),
  });

/** Rules on an expression of a selector whose `operator` is one of those of {@link labelSelector}. */
export const EXPRESSION_RULES = rules(
  [
    "!(self.operator in ['In', 'NotIn']) || (has(self.values) && self.values.size() > 0)",
    "operators In and NotIn need values",
  ],
  [
    "!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || self.values.size() == 0",
    "operators Exists and DoesNotExist take no values",
  ],
);

const expression = Type.Object(
  {
    key: Type.String({ description: "Key of the label.", ...QUALIFIED_NAME }),
    operator: oneOf(["In", "NotIn", "Exists", "DoesNotExist"], {
      description: "How the label is compared with the values.",
    }),
    values: Type.Optional(
      Type.Array(Type.String(LABEL_VALUE), {
        description: "Values, for In and NotIn.",
        maxItems: MAX_VALUES,
      }),
    ),
  },
  { ...closed, ...EXPRESSION_RULES },
);

/** Describes a label selector (meta/v1). */
export const labelSelector = (description: string) =>
  Type.Object(
    {
      matchLabels: Type.Optional(labels("Labels that must be there with these values.")),
      matchExpressions: Type.Optional(
        Type.Array(expression, {
          description: "Expressions that must all be true.",
          maxItems: MAX_TERMS,
        }),
      ),
    },
    { ...closed, title: "LabelSelector (meta/v1)", description, "x-kubernetes-map-type": "atomic" },
  );

/** A label selector as Kubernetes has it (meta/v1). */
export type LabelSelector = Static<ReturnType<typeof labelSelector>>;
