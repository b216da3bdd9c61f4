/** The options of a node-redis client that decide how commands are sent and what they return. */
interface ClientOptions {
  readonly keyPrefix?: unknown;
  readonly readonly?: boolean;
  readonly useReplicas?: boolean;
  readonly commandOptions?: Readonly<Record<string, unknown>> | undefined;
}

/** The members of node-redis clients that show their options. Each kind of client has some of them. */
interface Configured extends ClientOptions {
  readonly _keyPrefix?: unknown;
  readonly _commandOptions?: ClientOptions["commandOptions"];
  readonly options?: ClientOptions;
  /** Cluster clients: their options, and in `defaults` those of the connections. */
  readonly _options?: ClientOptions & { readonly defaults?: ClientOptions };
  /** The client without the changes of `withTypeMapping`, `withCommandOptions` and the like. */
  readonly _self?: Configured;
}

/** The error for a client that cannot be used. Like every mistake of the caller it is a `TypeError`. */
export class UnfitClientError extends TypeError {}

/** `slotNumber` is set by the cluster client of node-redis 5 itself. */
const HARMLESS: readonly string[] = ["timeout", "slotNumber"];

const fit = new WeakSet<object>();

/**
 * Rejects a client whose options would make sessions seem absent, or make reads return old ones:
 *
 * - `keyPrefix`: SCAN and invalidation messages of Redis contain the prefixed keys;
 * - `useReplicas` of a cluster client, and `readonly`: a replica may still return a session that was destroyed;
 * - command options except `timeout`: `typeMapping` returns other types than strings, `asap` sends WAIT before the write
 *   that it confirms, and an `abortSignal` that is aborted makes all later calls fail.
 *
 * @throws {UnfitClientError}
 */
export function refuseOptions(client: object): void {
  if (fit.has(client)) return;
  const { _keyPrefix, options, _options, _self } = client as Configured;
  const all: readonly (Configured | undefined)[] = [client, _self, options, _options, _options?.defaults];
  for (const one of [{ keyPrefix: _keyPrefix }, ...all]) {
    if (one === undefined) continue;
    const { keyPrefix, readonly, useReplicas } = one;
    if (keyPrefix !== undefined && String(keyPrefix) !== "") {
      throw unfit("the client has a keyPrefix: use the option prefix of redisBackend instead");
    }
    if (readonly === true || useReplicas === true) {
      const option = readonly === true ? "readonly" : "useReplicas";
      throw unfit(
        `a replica may still return a session that was destroyed: create the client without the option "${option}"`,
      );
    }
    for (const given of [one.commandOptions, one._commandOptions]) refuseCommandOptions(given);
  }
  fit.add(client);
}

function refuseCommandOptions(options: ClientOptions["commandOptions"] = {}): void {
  for (const [name, value] of Object.entries(options)) {
    const isSet = typeof value === "object" && value !== null ? Reflect.ownKeys(value).length > 0 : Boolean(value);
    if (!HARMLESS.includes(name) && (isSet || value instanceof AbortSignal)) {
      throw unfit(`the client has the command option "${name}": pass a client without it, or another client`);
    }
  }
}

function unfit(why: string): UnfitClientError {
  return new UnfitClientError(`Cannot create a Redis backend as ${why}`);
}
