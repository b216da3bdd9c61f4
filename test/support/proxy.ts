import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A proxy for a server whose connections can be broken. */
export interface BreakingConnection {
  readonly port: number;
  /** Forwards the next command, and breaks the connection before its reply. */
  loseNextAnswer(): void;
  /** Passes every reply of the server to `how`, until the returned function is called. */
  tamper(how: Tampering): () => void;
  /** Holds back commands to the server, until the returned function is called. */
  hold(): () => void;
  /** Replies instead of the server, which receives nothing, until the returned function is called. */
  replace(answer: (question: Buffer) => string): () => void;
  /** Stops forwarding on existing connections in both directions. New connections work. */
  silence(): void;
  /** Changes the port to which new connections lead. */
  lead(to: number): void;
  /** Refuses new connections. */
  refuse(): void;
  /** Breaks all connections and refuses new ones, until the returned function is called. */
  cut(): Promise<() => Promise<void>>;
  stop(): Promise<void>;
}

/** Receives a reply of the server instead of the client. */
export type Tampering = (answer: Buffer, near: Socket) => void;

/** Starts a proxy for a server on loopback. */
export async function connectThrough(to: number): Promise<BreakingConnection> {
  const sockets = new Set<Socket>();
  const silent = new WeakSet<Socket>();
  let target = to;
  let losesNext = false;
  let deal: Tampering | null = null;
  let held: (() => void)[] | null = null;
  let reply: ((question: Buffer) => string) | null = null;

  function pair(near: Socket): void {
    const far = connect(target, "127.0.0.1");
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.setNoDelay();
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.on("data", (question) => {
      if (silent.has(near)) return;
      if (reply !== null) near.write(reply(question));
      else if (held === null) far.write(question);
      else held.push(() => far.write(question));
    });
    far.on("data", (answer) => {
      if (silent.has(far)) return;
      if (losesNext) near.destroy();
      else if (deal !== null) deal(answer, near);
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
    tamper(how) {
      deal = how;
      return () => {
        deal = null;
      };
    },
    hold() {
      held = [];
      return () => {
        for (const tell of held ?? []) tell();
        held = null;
      };
    },
    replace(answer) {
      reply = answer;
      return () => {
        reply = null;
      };
    },
    silence() {
      for (const socket of sockets) silent.add(socket);
    },
    lead(to) {
      target = to;
    },
    refuse() {
      server.close();
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
