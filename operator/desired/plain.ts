/**
 * A type of the client as plain JSON: no class, times as texts, immutable to the bottom. Builders
 * write literals of these types.
 */
export type Plain<T> = T extends Date
  ? string
  : T extends readonly (infer Item)[]
    ? readonly Plain<Item>[]
    : T extends object
      ? { readonly [Key in keyof T]: Plain<T[Key]> }
      : T;

/** The metadata of an object that the operator writes. */
export interface RenderedMetadata {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly ownerReferences: readonly {
    readonly apiVersion: string;
    readonly kind: string;
    readonly name: string;
    readonly uid: string;
    readonly controller: boolean;
  }[];
}

/** An object as the operator wants it: whole, with a name in a namespace. */
export type Rendered<T> = Plain<Omit<T, "apiVersion" | "kind" | "metadata" | "status">> & {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: RenderedMetadata;
};

/** Any object that was observed, as far as its marks go. */
export interface ObservedObject {
  readonly kind?: string;
  readonly metadata: {
    readonly name: string;
    readonly uid?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly { readonly uid: string }[];
  };
}
