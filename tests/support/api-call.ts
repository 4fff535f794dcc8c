/** One request to an API server, without any client library between. */
import { Agent, request } from "node:https";

/** An answer of the API server. */
export interface Answer {
  readonly status: number;
  /** The parsed JSON body, or the text where it is none. */
  readonly body: unknown;
  /** Texts of the `Warning` header. */
  readonly warnings: readonly string[];
}

/** One request to the API server. */
export interface Call {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly path: string;
  readonly body?: unknown;
  /** Default `application/json`. */
  readonly contentType?: string;
  /** Who asks: a bearer token; without it, the administrator. */
  readonly token?: string;
}

/** Sends a request; every status is an answer, only a broken connection throws. */
export async function send(server: string, agent: Agent, call: Call): Promise<Answer> {
  const payload = call.body === undefined ? undefined : JSON.stringify(call.body);
  const headers = {
    accept: "application/json",
    ...(payload !== undefined && { "content-type": call.contentType ?? "application/json" }),
    ...(call.token !== undefined && { authorization: `Bearer ${call.token}` }),
  };
  return new Promise((resolve, reject) => {
    const outgoing = request(
      new URL(call.path, server),
      // A client certificate would win over the token: ask with the CA alone.
      {
        method: call.method,
        headers,
        agent: call.token === undefined ? agent : withoutCertificate(agent),
      },
      (incoming) => {
        const octets: Buffer[] = [];
        incoming.on("data", (part: Buffer) => octets.push(part));
        incoming.on("error", reject);
        incoming.on("end", () => {
          const text = Buffer.concat(octets).toString();
          const warnings = readWarnings(incoming.headers["warning"]);
          resolve({ status: incoming.statusCode ?? 0, body: parseOrText(text), warnings });
        });
      },
    );
    outgoing.on("error", reject);
    outgoing.end(payload);
  });
}

function withoutCertificate(agent: Agent): Agent {
  const { ca } = agent.options;
  return new Agent(ca === undefined ? {} : { ca });
}

/** Reads texts out of `299 - "text", 299 - "text"` (RFC 7234 §5.5). */
function readWarnings(header: string | undefined): string[] {
  const quoted = (header ?? "").matchAll(/299 - "((?:[^"\\]|\\.)*)"/g);
  return [...quoted].map(([, text = ""]) => text.replaceAll(/\\(.)/g, "$1"));
}

function parseOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Plain text, such as the answer of /readyz.
    return text;
  }
}
