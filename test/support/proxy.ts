import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A connection to a server that can break. */
export interface BreakingConnection {
  readonly port: number;
  /** The server does what it is told next, and the connection breaks before its answer. */
  loseNextAnswer(): void;
  /** Does this with every answer of the server, until what this gives is called. */
  tamper(how: Tampering): () => void;
  /** What the server is told does not reach it, until what this gives is called. */
  hold(): () => void;
  /** Answers in the place of the server, which is told nothing, until what this gives is called. */
  replace(answer: (question: Buffer) => string): () => void;
  /** Those who are connected hear nothing any more, nor does the server hear them. New connections are not concerned. */
  silence(): void;
  /** Where new connections lead. */
  lead(to: number): void;
  /** Nobody is connected any more who is not already. */
  refuse(): void;
  /** Nobody gets through, until what this gives is called. */
  cut(): Promise<() => Promise<void>>;
  stop(): Promise<void>;
}

/** Deals with what came from the server in the place of handing it on. */
export type Tampering = (answer: Buffer, near: Socket) => void;

/** In front of a server on loopback. */
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
