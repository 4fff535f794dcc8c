/** ajv, to be imported on demand. */
import { Ajv, type Options } from "ajv";

/** Makes one. */
export function compiler(options: Options): Ajv {
  return new Ajv(options);
}
