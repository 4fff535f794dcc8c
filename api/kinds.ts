import { ADDRESS_POOL } from "./address-pool.ts";
import type { Kind } from "./kind.ts";
import { METALLB } from "./metallb.ts";
import { SERVICE_L2_STATUS } from "./service-l2-status.ts";
import { SPEAKER_STATUS } from "./speaker-status.ts";

/** Every kind of ours. */
export const KINDS: readonly Kind[] = [METALLB, ADDRESS_POOL, SERVICE_L2_STATUS, SPEAKER_STATUS];
