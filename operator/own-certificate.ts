/**
 * The webhook's certificate where nobody supplies one: made here, announced to the API server through
 * `caBundle`, renewed in time. {@link planCertificate} says when; this does it.
 */
import { randomUUID } from "node:crypto";
import type { ServerCertificate } from "../kubernetes/admission-server.ts";
import { backoffMs, SERVER_BACKOFF } from "../kubernetes/backoff.ts";
import { expiry, issueCertificate } from "../kubernetes/certificate.ts";
import { isAborted, sleep } from "../kubernetes/clock.ts";
import type { Program } from "../kubernetes/program.ts";
import { Reflector } from "../kubernetes/reflector.ts";
import {
  VALIDATING_WEBHOOK_CONFIGURATIONS,
  type ValidatingWebhookConfiguration,
} from "../kubernetes/resources.ts";
import {
  isTrusted,
  planCertificate,
  type Anchor,
  type CertificateView,
  type Generation,
} from "./certificate-plan.ts";

/** Name of the configuration that the authority is written into, as config/webhook has it. */
export const WEBHOOK_CONFIGURATION = "metallb-operator-webhook-configuration";

/** What a certificate is for, and how long it lives. */
export interface OwnCertificateOptions {
  readonly program: Pick<Program, "client" | "clock" | "logger" | "metrics">;
  /** Name that the API server calls: the Service's. */
  readonly dnsName: string;
  readonly lifetimeMs: number;
  /** Puts a certificate to use. */
  readonly use: (certificate: ServerCertificate) => void;
}

/** A generation with what only the server needs. */
interface Made extends Generation {
  readonly certificate: ServerCertificate;
}

/** For clocks that differ between machines. */
const SKEW_MS = 3_600_000;
/** A timer takes no more than 24 days; and looking again costs nothing. */
const MAX_WAIT_MS = 3_600_000;

/** See the head of the file. */
export class OwnCertificate {
  /** Watches the one configuration: to be run by the program. */
  readonly reflector: Reflector<ValidatingWebhookConfiguration>;
  readonly #options: OwnCertificateOptions;
  #current: Made;
  #next: Made | undefined;
  #nextTrustedSinceMs: number | undefined;
  #wake = Promise.withResolvers<undefined>();

  /** Makes the first generation, which {@link certificate} gives. */
  constructor(options: OwnCertificateOptions) {
    this.#options = options;
    this.#current = this.#make();
    const { client, logger, metrics } = options.program;
    const fieldSelector = `metadata.name=${WEBHOOK_CONFIGURATION}`;
    const resource = VALIDATING_WEBHOOK_CONFIGURATIONS;
    this.reflector = new Reflector({ client, resource, fieldSelector, logger, metrics });
    this.reflector.onChange(() => this.#wake.resolve(undefined));
  }

  /** What is in use now. */
  get certificate(): ServerCertificate {
    return this.#current.certificate;
  }

  /** Why the API server would not take our answers; undefined when it would. */
  readonly trouble = (): string | undefined =>
    isTrusted(this.#view()) ? undefined : `${WEBHOOK_CONFIGURATION} does not trust us yet`;

  /** Keeps the certificate valid and trusted until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { logger, clock } = this.#options.program;
    let failures = 0;
    while (!isAborted(signal)) {
      this.#wake = Promise.withResolvers<undefined>();
      let waitMs: number;
      try {
        waitMs = await this.#step(signal);
        failures = 0;
      } catch (error) {
        if (isAborted(signal)) return;
        // A conflict is another process that wrote at the same moment: the watch shows it soon.
        logger.error("authority of the webhook not written", { error });
        waitMs = backoffMs(SERVER_BACKOFF, ++failures, Math.random());
      }
      const waiting = new AbortController();
      const until = AbortSignal.any([signal, waiting.signal]);
      // Only an abort ends the sleep early.
      const timer = sleep(clock, Math.min(waitMs, MAX_WAIT_MS), until).catch(() => undefined);
      await Promise.race([timer, this.#wake.promise]);
      waiting.abort();
    }
  }

  /** Does what is to be done now. @returns how long to wait when nothing is heard */
  async #step(signal: AbortSignal): Promise<number> {
    const { clock, logger } = this.#options.program;
    const nowMs = clock.wallMs();
    const plan = planCertificate(this.#view(), nowMs);
    if (plan.make) {
      this.#next = this.#make();
      logger.info("certificate of the webhook made", { expires: this.#next.expiresAtMs });
      return 0;
    }
    if (plan.trust !== undefined) await this.#trust(plan.trust, signal);
    if (plan.use && this.#next !== undefined) {
      this.#current = this.#next;
      this.#next = undefined;
      this.#nextTrustedSinceMs = undefined;
      this.#options.use(this.#current.certificate);
      logger.info("certificate of the webhook renewed");
      return 0;
    }
    return Math.max(0, plan.wakeAtMs - nowMs);
  }

  #view(): CertificateView {
    const current = this.#current;
    const next = this.#next;
    const trusted = this.#trusted();
    const isNextTrusted = trusted?.some(({ authority }) => authority === next?.authority) ?? false;
    if (!isNextTrusted) this.#nextTrustedSinceMs = undefined;
    else this.#nextTrustedSinceMs ??= this.#options.program.clock.wallMs();
    return { current, next, nextTrustedSinceMs: this.#nextTrustedSinceMs, trusted };
  }

  get #configuration(): ValidatingWebhookConfiguration | undefined {
    return this.reflector.store.get(WEBHOOK_CONFIGURATION);
  }

  /** Whom all webhooks of the configuration trust. */
  #trusted(): Anchor[] | undefined {
    const [first, ...others] = (this.#configuration?.webhooks ?? []).map(({ clientConfig }) =>
      certificatesOf(clientConfig.caBundle),
    );
    if (first === undefined) return undefined;
    const inAll = first.filter((each) => others.every((bundle) => bundle.includes(each)));
    return inAll.map((authority) => ({ authority, expiresAtMs: expiryMs(authority) }));
  }

  /** Writes the authorities into every webhook, unless somebody else wrote meanwhile. */
  async #trust(authorities: readonly string[], signal: AbortSignal): Promise<void> {
    const { client, logger } = this.#options.program;
    const configuration = this.#configuration;
    if (configuration === undefined) return;
    const value = Buffer.from(authorities.join("")).toString("base64");
    const { name, resourceVersion } = configuration.metadata;
    const patch = [
      { op: "test", path: "/metadata/resourceVersion", value: resourceVersion },
      ...(configuration.webhooks ?? []).map((_webhook, index) => {
        return { op: "add", path: `/webhooks/${index}/clientConfig/caBundle`, value };
      }),
    ];
    const resource = VALIDATING_WEBHOOK_CONFIGURATIONS;
    await client.patch(resource, { name }, patch, { type: "json" }, signal);
    logger.info("authority of the webhook written", { authorities: authorities.length });
  }

  #make(): Made {
    const { dnsName, lifetimeMs, program } = this.#options;
    const madeAtMs = program.clock.wallMs();
    const expiresAtMs = madeAtMs + lifetimeMs;
    const validity = {
      notBefore: new Date(madeAtMs - SKEW_MS),
      notAfter: new Date(expiresAtMs),
    };
    const commonName = `metallb-operator webhook ${randomUUID()}`.slice(0, 64);
    const authority = issueCertificate({ commonName, ...validity, ca: true });
    const leaf = { commonName: dnsName.slice(0, 64), dnsNames: [dnsName], ...validity };
    const { certificate: cert, key } = issueCertificate({ ...leaf, issuer: authority });
    // The authority's key is forgotten here: nobody can sign anything else with it.
    return { authority: authority.certificate, certificate: { cert, key }, madeAtMs, expiresAtMs };
  }
}

/** The certificates of a `caBundle`, each PEM with a line break at its end. */
function certificatesOf(caBundle: string | undefined): string[] {
  const text = Buffer.from(caBundle ?? "", "base64").toString("utf8");
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => `${block}\n`);
}

function expiryMs(authority: string): number {
  try {
    return expiry(authority).getTime();
  } catch {
    // Somebody wrote what is no certificate: it helps nobody.
    return Number.NaN;
  }
}
