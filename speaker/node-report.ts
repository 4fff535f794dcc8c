/** Writes this speaker's SpeakerStatus, when it changes. */
import { SPEAKER_STATUS_API_VERSION, type SpeakerStatusStatus } from "../api/speaker-status.ts";
import type { Client } from "../kubernetes/client.ts";
import { describeError } from "../kubernetes/errors.ts";
import type { Logger } from "../kubernetes/logging.ts";
import { SPEAKER_STATUSES } from "../kubernetes/resources.ts";
import { LinkError } from "../packet/link/link.ts";
import { VrrpEar } from "../packet/link/vrrp-ear.ts";
import { gatherFacts, RoutersHeard } from "./node-facts.ts";
import type { OwnerPod } from "./status.ts";
import type { InterfaceNews } from "./thread-protocol.ts";

/** How often the node is looked at; nothing is written while it stays as it is. */
const LOOK_MS = 10_000;

/** Even then it is written after so long: somebody may have deleted it. */
const REPEAT_MS = 300_000;

/** What the report works with. */
export interface NodeReportOptions {
  readonly client: Client;
  readonly logger: Logger;
  readonly node: string;
  readonly namespace: string;
  /** The pod that owns the object, and gives it its name. */
  readonly owner: OwnerPod;
  /** Names of the keys that are accepted, the oldest first. */
  readonly keys: () => readonly string[];
}

interface Ear extends Disposable {
  readonly index: number;
}

/** Looks at the node now and then, and whenever it is told of a change. */
export class NodeReport implements Disposable {
  readonly #options: NodeReportOptions;
  readonly #routers = new RoutersHeard();
  readonly #ears = new Map<string, Ear>();
  #interfaces: readonly InterfaceNews[] = [];
  #written = "";
  #writtenAt = -Infinity;
  #wake: () => void = () => undefined;

  /** Looks at nothing before {@link run}. */
  constructor(options: NodeReportOptions) {
    this.#options = options;
  }

  /** Takes the interfaces as they are now, and listens on those that can be used. */
  setInterfaces(interfaces: readonly InterfaceNews[]): void {
    this.#interfaces = interfaces;
    const indexes = new Map(interfaces.map(({ name, index }) => [name, index]));
    for (const [name, ear] of this.#ears) {
      if (indexes.get(name) === ear.index) continue;
      ear[Symbol.dispose]();
      this.#ears.delete(name);
    }
    for (const [name, index] of indexes)
      if (index !== undefined && !this.#ears.has(name)) this.#listen(name, index);
    this.changed();
  }

  /** Has the node looked at soon: something has changed. */
  changed(): void {
    this.#wake();
  }

  /** Reports until aborted. What could not be written is tried again at the next look. */
  async run(signal: AbortSignal): Promise<void> {
    const { logger } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#report(signal);
      } catch (error) {
        logger.warn("node not reported", { error: describeError(error) });
      }
      await this.#pause(signal);
    }
  }

  /** Stops listening. */
  [Symbol.dispose](): void {
    for (const ear of this.#ears.values()) ear[Symbol.dispose]();
    this.#ears.clear();
  }

  #listen(name: string, index: number): void {
    const heard = ({ source, id }: { source: string; id: number }): void => {
      const router = { interface: name, address: source, id };
      if (this.#routers.hear(router, performance.now())) this.changed();
    };
    try {
      const ear = new VrrpEar(name, index, heard);
      this.#ears.set(name, { index, [Symbol.dispose]: () => ear[Symbol.dispose]() });
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      this.#options.logger.warn("not listening for VRRP", { interface: name, error });
    }
  }

  async #report(signal: AbortSignal): Promise<void> {
    const { node, keys } = this.#options;
    const status = await gatherFacts({
      node,
      interfaces: this.#interfaces,
      virtualRouters: this.#routers.list(performance.now()),
      keys: keys(),
    });
    const text = JSON.stringify(status);
    const now = performance.now();
    if (text === this.#written && now - this.#writtenAt < REPEAT_MS) return;
    await this.#write(status, signal);
    [this.#written, this.#writtenAt] = [text, now];
  }

  async #write(status: SpeakerStatusStatus, signal: AbortSignal): Promise<void> {
    const { client, namespace, owner } = this.#options;
    const object = {
      apiVersion: SPEAKER_STATUS_API_VERSION,
      kind: "SpeakerStatus" as const,
      metadata: {
        name: owner.name,
        namespace,
        ownerReferences: [{ apiVersion: "v1", kind: "Pod", name: owner.name, uid: owner.uid }],
      },
    };
    // Applied each time: whoever deleted it does not silence us.
    await client.apply(SPEAKER_STATUSES, object, {}, signal);
    await client.applyStatus(SPEAKER_STATUSES, { ...object, status }, {}, signal);
  }

  async #pause(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const wake = (): void => resolve(undefined);
    this.#wake = wake;
    const timer = setTimeout(wake, LOOK_MS);
    signal.addEventListener("abort", wake, { once: true });
    await promise;
    clearTimeout(timer);
    signal.removeEventListener("abort", wake);
  }
}
