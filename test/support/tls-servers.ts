import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atEnd, serve } from "./own-servers.ts";
import { freePort, type Server } from "./redis-server.ts";

/** A server that speaks TLS only, and its self-signed certificate. */
export interface TlsServer {
  readonly server: Server;
  readonly port: number;
  /** The folder of its certificate, which is deleted after the tests. */
  readonly folder: string;
  /** The certificate, which is also its authority, in PEM format. */
  readonly ca: string;
  /** The private key of the certificate, in PEM format. */
  readonly key: string;
}

/** The openssl program makes the certificates; the servers are built with TLS. */
export async function serveTls(name = "localhost", ...options: string[]): Promise<TlsServer> {
  const folder = mkdtempSync(join(tmpdir(), "zession-tls-"));
  atEnd(() => rmSync(folder, { recursive: true, force: true }));
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  const alternative = name === "localhost" ? "DNS:localhost,IP:127.0.0.1" : `DNS:${name}`;
  const named = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=${alternative}`];
  execFileSync("openssl", [...made, ...named, "-keyout", key, "-out", cert], { stdio: "ignore" });
  const port = await freePort();
  const server = await serve("--tls-port", `${port}`, ...tlsOptions(folder), ...options);
  return { server, port, folder, ca: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
}

/** The options of a server with the certificate in this folder. */
export function tlsOptions(folder: string): string[] {
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const files = ["--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert];
  return [...files, "--tls-auth-clients", "no"];
}
