import { createConnection } from "node:net";
import { clearTimeout, setTimeout } from "node:timers";
import type { ServerAddress } from "./address.ts";
import { PlainServerError } from "./connection-errors.ts";

/** How long a TLS handshake may take before this looks for the reason. */
const PATIENCE_MS = 300;

/** A search for a server without TLS. */
export interface PlainServerSearch {
  /** Rejects with a `PlainServerError` if one of the servers answers without TLS; is pending otherwise. */
  readonly found: Promise<never>;
  stop(): void;
}

/**
 * Asks servers for a sign of life without TLS, unless it is stopped soon. Redis without TLS keeps silent on a TLS
 * handshake: it waits for the end of the command. So without this, the only error would be a timeout.
 */
export function plainServerSearch(servers: readonly ServerAddress[]): PlainServerSearch {
  const ends: (() => void)[] = [];
  const found = new Promise<never>((_, reject) => {
    const timer = setTimeout(() => {
      for (const { host, port, family } of servers) {
        const socket = createConnection({ host, port, ...(family === undefined ? {} : { family }) });
        ends.push(() => socket.destroy());
        socket.on("error", () => {});
        socket.on("connect", () => socket.write("PING\r\n"));
        // +PONG, or an error reply such as -NOAUTH.
        socket.on("data", (answer) => {
          if (/^[+-][A-Z]/.test(String(answer))) reject(new PlainServerError("The server answered without TLS"));
          socket.destroy();
        });
      }
    }, PATIENCE_MS);
    ends.push(() => clearTimeout(timer));
  });
  return {
    found,
    stop() {
      for (const end of ends) end();
    },
  };
}
