import { type RedisClient, stateOf } from "./client.ts";

/** The members of node-redis clients that show where they connect to. */
interface Placed {
  /** Single clients. */
  readonly options?:
    | { readonly socket?: Socket | undefined; readonly sentinelRootNodes?: readonly Socket[] }
    | undefined;
  /** Cluster clients. */
  readonly _options?: { readonly rootNodes?: readonly { readonly url?: string; readonly socket?: Socket }[] };
}

interface Socket {
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly path?: string | undefined;
}

/** Returns " at <host>:<port>" for error messages, without credentials, or an empty text if the place is unknown. */
export function placeOf(client: RedisClient): string {
  const state = stateOf(client);
  state.place ??= read(client as Placed);
  return state.place === "" ? "" : ` at ${state.place}`;
}

function read({ options, _options }: Placed): string {
  const nodes = _options?.rootNodes?.map(({ url, socket }) => (url === undefined ? socket : partsOf(url)));
  const sockets = nodes ?? options?.sentinelRootNodes ?? [options?.socket];
  return sockets
    .map((socket) => socket?.path ?? (socket?.host === undefined ? "" : `${socket.host}:${socket.port ?? 6379}`))
    .filter((place) => place !== "")
    .slice(0, 3)
    .join(", ");
}

function partsOf(url: string): Socket {
  const { hostname, port } = URL.parse(url) ?? {};
  return { host: hostname, port: port ? Number(port) : undefined };
}
