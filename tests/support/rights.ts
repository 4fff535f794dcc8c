/** Rights that files grant, and those that an audit log shows in use, each as `verb resource/subresource`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";

const TREE = join(import.meta.dirname, "../..");

interface Role {
  readonly rules?: readonly {
    readonly verbs: readonly string[];
    readonly resources?: readonly string[];
  }[];
}

/** A request as an audit log has it, as far as it matters here. */
export interface Audited {
  readonly verb: string;
  readonly requestURI: string;
  readonly user: { readonly username: string };
  readonly objectRef?: { readonly resource?: string; readonly subresource?: string };
  readonly responseStatus?: { readonly code?: number };
}

/** Reads what the roles of a file of the tree grant. */
export function rightsGranted(path: string): string[] {
  const roles = parseAllDocuments(readFileSync(join(TREE, path), "utf8"));
  const rules = roles.flatMap((document) => (document.toJS() as Role).rules ?? []);
  return rules.flatMap(({ verbs, resources = [] }) =>
    resources.flatMap((resource) => verbs.map((verb) => `${verb} ${resource}`)),
  );
}

/** Tells which of the granted rights no request used. */
export function rightsUnused(granted: readonly string[], requests: readonly Audited[]): string[] {
  const used = new Set(requests.flatMap(rightsOf));
  // Servers with streaming lists are not asked for others; older ones are.
  const needed = granted.filter((right) => !right.startsWith("list "));
  return needed.filter((right) => !used.has(right));
}

/** What was asked for and refused. */
export function refusals(requests: readonly Audited[]): string[] {
  const refused = requests.filter(({ responseStatus }) => responseStatus?.code === 403);
  return refused.map(({ verb, requestURI, user }) => `${user.username}: ${verb} ${requestURI}`);
}

function rightsOf({ verb, objectRef, responseStatus }: Audited): string[] {
  const { resource = "", subresource } = objectRef ?? {};
  const what = subresource === undefined ? resource : `${resource}/${subresource}`;
  // An apply that makes an object needs the right to create, and is logged as a patch.
  const isMade = verb === "patch" && responseStatus?.code === 201;
  return isMade ? [`create ${what}`, `patch ${what}`] : [`${verb} ${what}`];
}
