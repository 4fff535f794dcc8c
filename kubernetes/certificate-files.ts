/** A server's certificate that somebody else keeps in a folder and renews there. */
import { readFileSync, statSync } from "node:fs";
import type { Server } from "node:https";
import type { Logger } from "./logging.ts";

/** Where a server's certificate comes from. */
export interface CertificateSource {
  /** The certificate and key of now, PEM. */
  read(): { readonly cert: string; readonly key: string };
  /** True when `read` would give others than last time. */
  changed(): boolean;
}

/** Reads `tls.crt` and `tls.key` of a folder, as a Secret of type `kubernetes.io/tls` is mounted. */
export function certificateFiles(directory: string): CertificateSource {
  const stamp = (): string => {
    const of = (file: string): string => {
      const { mtimeMs, ino, size } = statSync(`${directory}/${file}`);
      return `${mtimeMs}/${ino}/${size}`;
    };
    return `${of("tls.crt")} ${of("tls.key")}`;
  };
  let last = "";
  return {
    read: () => {
      last = stamp();
      return {
        cert: readFileSync(`${directory}/tls.crt`, "utf8"),
        key: readFileSync(`${directory}/tls.key`, "utf8"),
      };
    },
    changed: () => stamp() !== last,
  };
}

/**
 * Gives a server the certificate of now if it is another one. Connections that stand go on with theirs.
 * @param name whose certificate, for the log
 */
export function renewCertificate(
  server: Pick<Server, "setSecureContext">,
  source: CertificateSource,
  logger: Logger,
  name: string,
): void {
  try {
    if (!source.changed()) return;
    server.setSecureContext(source.read());
    logger.info("certificate read again", { certificate: name });
  } catch (error) {
    // The old one serves on; the files may be complete next time.
    logger.error("certificate not read", { certificate: name, error });
  }
}
