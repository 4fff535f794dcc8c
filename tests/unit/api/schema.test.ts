import { describe, expect, test } from "@jest/globals";
import { Ajv } from "ajv";
import { KINDS } from "../../../api/kinds.ts";
import { renderedConfig } from "../../../api/rendered-config.ts";

// The programs leave this out, to save memory: a schema with a fault must not get that far.
describe("each schema is one by the meta-schema of JSON Schema draft 7:", () => {
  const ajv = new Ajv({ strict: false, validateFormats: false });
  const schemas = KINDS.flatMap(({ kind, spec, status }) => [
    [`${kind}.spec`, spec] as const,
    [`${kind}.status`, status] as const,
  ]);
  test.each([...schemas, ["rendered configuration", renderedConfig] as const])(
    "%s",
    async (_name, schema) => {
      expect(await ajv.validateSchema(schema)).toBe(true);
      expect(ajv.errors).toBeNull();
    },
  );

  test("a type that does not exist is found", async () => {
    expect(await ajv.validateSchema({ type: "strng" })).toBe(false);
  });
});
