/** Describes the fields of a kind for the forms and pages of a console. */
import type { Schema } from "./crd.ts";

/** What OLM calls a SpecDescriptor or StatusDescriptor. */
export interface Descriptor {
  readonly path: string;
  readonly displayName: string;
  readonly description?: string;
  readonly "x-descriptors"?: readonly string[];
}

const UI = "urn:alm:descriptor:com.tectonic.ui";

/** Widgets of fields that are more than their type. */
const WIDGETS: Readonly<Record<string, string>> = {
  resources: `${UI}:resourceRequirements`,
  conditions: "urn:alm:descriptor:io.kubernetes.conditions",
};

/** Describes every field of a spec, those of list entries too; a type of Kubernetes' own as a whole. */
export function specDescriptors(schema: Schema): Descriptor[] {
  return descriptors(schema, [], true);
}

/** Describes every field of a status but those of list entries: a page would show the first entry's. */
export function statusDescriptors(schema: Schema): Descriptor[] {
  return descriptors(schema, [], false);
}

function descriptors(schema: Schema, path: readonly string[], intoLists: boolean): Descriptor[] {
  if (path.length > 0 && schema.title !== undefined) return [];
  return Object.entries(schema.properties ?? {}).flatMap(([name, child]) => {
    const here = [...path, name];
    const { items } = child;
    const inside =
      items === undefined
        ? descriptors(child, here, intoLists)
        : intoLists
          ? descriptors(items, [...path, `${name}[0]`], true)
          : [];
    return [descriptor(here, child), ...inside];
  });
}

function descriptor(path: readonly string[], schema: Schema): Descriptor {
  const widgets = widgetsOf(path.at(-1) ?? "", schema);
  return {
    path: path.join("."),
    displayName: path.map(words).join(" "),
    ...(schema.description !== undefined && { description: schema.description }),
    ...(widgets.length > 0 && { "x-descriptors": widgets }),
  };
}

function widgetsOf(name: string, schema: Schema): string[] {
  const own = WIDGETS[name];
  if (own !== undefined) return [own];
  if (schema.enum !== undefined) return schema.enum.map((value) => `${UI}:select:${value}`);
  switch (schema.type) {
    case "boolean":
      return [`${UI}:booleanSwitch`];
    case "integer":
      return [`${UI}:number`];
    case "string":
      return [`${UI}:text`];
    default:
      return [];
  }
}

/** `avoidBuggyIPs[0]` → `Avoid Buggy IPs`. */
function words(name: string): string {
  const spaced = name.replace(/\[0\]$/, "").replace(/([a-z0-9])([A-Z])/g, "$1 $2");
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}
