/** Certificates and kubeconfigs of the cluster, made by openssl. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { run, shell } from "./command.ts";

/** One certificate: file name, subject and alternative names as openssl writes them. */
export interface CertificateRequest {
  readonly name: string;
  readonly subject: string;
  readonly alternativeNames: readonly string[];
}

/** Makes a CA, the service account key and the certificates in a folder that does not exist yet. */
export async function createPki(
  folder: string,
  requests: readonly CertificateRequest[],
): Promise<void> {
  if (existsSync(folder)) return;
  const draft = `${folder}.draft`;
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(draft, { recursive: true, mode: 0o700 });
  const key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
  await shell(
    `openssl req -x509 ${key} -keyout ca.key -out ca.crt -days 365 -subj /CN=test-cluster
     openssl genrsa -out sa.key 2048
     openssl rsa -in sa.key -pubout -out sa.pub`,
    { cwd: draft },
  );
  await Promise.all(
    requests.map(async ({ name, subject, alternativeNames }) => {
      writeFileSync(`${draft}/${name}.ext`, `subjectAltName=${alternativeNames.join(",")}\n`);
      await shell(
        `openssl req ${key} -keyout ${name}.key -out ${name}.csr -subj "${subject}"
         openssl x509 -req -in ${name}.csr -CA ca.crt -CAkey ca.key -set_serial 0x$(openssl rand -hex 8) \
           -out ${name}.crt -days 365 -extfile ${name}.ext
         rm ${name}.csr ${name}.ext`,
        { cwd: draft },
      );
    }),
  );
  await run(["chmod", "-R", "go=", draft]);
  renameSync(draft, folder);
}

/** Writes a kubeconfig that carries its certificates inside, so that it can be copied. */
export function writeKubeconfig(file: string, pki: string, user: string, server: string): void {
  const base64 = (name: string): string => readFileSync(`${pki}/${name}`).toString("base64");
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      { name: "test", cluster: { server, "certificate-authority-data": base64("ca.crt") } },
    ],
    users: [
      {
        name: user,
        user: {
          "client-certificate-data": base64(`${user}.crt`),
          "client-key-data": base64(`${user}.key`),
        },
      },
    ],
    contexts: [{ name: "test", context: { cluster: "test", user } }],
    "current-context": "test",
  };
  writeFileSync(file, JSON.stringify(config, null, 1), { mode: 0o600 });
  chmodSync(file, 0o600);
}
