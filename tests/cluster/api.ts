/** Requests to the test cluster's API server, many a second. */
import { readFileSync } from "node:fs";
import { Agent } from "node:https";
import { STATE_DIRECTORY } from "./layout.ts";
import { readState } from "./state.ts";
import { send } from "../support/api-call.ts";

/** The administrator of the cluster that is up. */
export class Api implements Disposable {
  readonly #server: string;
  readonly #agent: Agent;

  constructor() {
    const file = (name: string): Buffer => readFileSync(`${STATE_DIRECTORY}/pki/${name}`);
    this.#server = `https://127.0.0.1:${readState()?.port ?? 0}`;
    this.#agent = new Agent({
      ca: file("ca.crt"),
      cert: file("admin.crt"),
      key: file("admin.key"),
      keepAlive: true,
    });
  }

  /** Asks for something. @throws Error with the answer when it is refused */
  async call(
    method: "GET" | "POST" | "PATCH" | "DELETE",
    path: string,
    body?: object,
  ): Promise<unknown> {
    const contentType = method === "PATCH" ? "application/merge-patch+json" : "application/json";
    const call = { method, path, contentType, ...(body !== undefined && { body }) };
    const { status, body: answer } = await send(this.#server, this.#agent, call);
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(answer)}`);
    return answer;
  }

  /** Makes many objects of one kind, sixteen at once. */
  async create(path: string, objects: readonly object[]): Promise<void> {
    const waiting = objects.values();
    const work = async (): Promise<void> => {
      for (const object of waiting) await this.call("POST", path, object);
    };
    await Promise.all(Array.from({ length: 16 }, work));
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}
