/**
 * The query parameters of a server's URL. Platforms append `family`; all others are refused, as an ignored one may have
 * been meant to secure the connection.
 *
 * @module
 */
import { malformed } from "./connection-errors.ts";

/** The parameters that an address can have. */
export interface AddressParameters {
  /** The number of the database. */
  readonly database?: number | undefined;
  /** The version of IP to use: 4, 6, or 0 for either. */
  readonly family?: 0 | 4 | 6 | undefined;
}

/** The advice for each parameter that is not supported, by its name in lower case without `_` and `-`. */
const INSTEAD: readonly (readonly [what: string, names: string])[] = [
  [
    "use the option tls: { rejectUnauthorized: false } if you accept any certificate",
    "sslcertreqs sslmode sslverify sslverifymode rejectunauthorized insecure tlsinsecure skipverify tlsskipverify insecureskipverify verify verifypeer",
  ],
  ["use the option tls: { servername }", "sslcheckhostname sslhostname servername tlsservername sni"],
  ["use the option tls: { ca }", "sslca sslcacerts sslcafile sslcadata sslrootcert cacert cafile ca tlsca tlscafile"],
  ["use the option tls: { cert, key }", "sslcert sslcertfile sslkey sslkeyfile cert key tlscert tlskey"],
  ["begin the address with rediss:", "ssl tls usetls usessl"],
  ["use the option username", "user username aclusername"],
  ["use the option password", "password pass auth authtoken token"],
  ["write it as the path: redis://host/1", "db database"],
  ["use the option clientSideCache", "clientsidecache cache"],
  [
    "use the option connectTimeout",
    "timeout connecttimeout connecttimeoutms connectiontimeout sockettimeout dialtimeout",
  ],
];

/** @throws {TypeError} If the URL has a fragment, an unknown parameter, or one with an invalid value. */
export function parametersOf({ hash, searchParams }: URL, isSocket: boolean): AddressParameters {
  if (hash !== "") throw malformed('the address contains "#": percent-encode it (encodeURIComponent)');
  const known = isSocket ? "db" : "family";
  for (const name of searchParams.keys()) if (name !== known) throw unknown(name, known);
  const [value = null, ...more] = searchParams.getAll(known);
  if (value === null) return {};
  const isValid = isSocket ? /^\d{1,9}$/ : /^[046]$/;
  if (more.length > 0 || !isValid.test(value)) {
    const rule = isSocket
      ? "the database in the parameter db must be a whole number"
      : "the parameter family must be 4, 6 or 0";
    throw malformed(rule);
  }
  return isSocket ? { database: Number(value) } : { family: Number(value) as 0 | 4 | 6 };
}

function unknown(name: string, known: string): TypeError {
  const plain = name.toLowerCase().replace(/[_-]/g, "");
  const [instead = `the only parameter is ${known}`] =
    INSTEAD.find(([, names]) => names.split(" ").includes(plain)) ?? [];
  // Anything else than a name may be part of a password that is not percent-encoded.
  const parameter = /^[a-z][a-z_-]{0,39}$/i.test(name) ? `the parameter "${name}"` : "a parameter";
  return malformed(`the address has ${parameter}, which is not supported: ${instead}`);
}
