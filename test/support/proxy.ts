import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A connection to a server that can break. */
export interface BreakingConnection {
  readonly port: number;
  /** The server does what it is told next, and the connection breaks before its answer. */
  loseNextAnswer(): void;
  /** Nobody gets through, until what this gives is called. */
  cut(): Promise<() => Promise<void>>;
  stop(): Promise<void>;
}

/** In front of a server on loopback. */
export async function connectThrough(to: number): Promise<BreakingConnection> {
  const sockets = new Set<Socket>();
  let losesNext = false;

  function pair(near: Socket): void {
    const far = connect(to, "127.0.0.1");
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far);
    far.on("data", (answer) => {
      if (losesNext) near.destroy();
      else near.write(answer);
      losesNext = false;
    });
  }

  async function listen(port: number) {
    const server = createServer(pair).listen(port, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("The proxy has no port");
    return { server, port: address.port };
  }

  let { server, port } = await listen(0);
  const close = async (): Promise<void> => {
    const closed = new Promise((done) => server.close(done));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return {
    port,
    loseNextAnswer() {
      losesNext = true;
    },
    async cut() {
      await close();
      return async () => {
        ({ server } = await listen(port));
      };
    },
    stop: close,
  };
}
