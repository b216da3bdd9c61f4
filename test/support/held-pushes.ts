import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** A proxy for a Redis server that can hold up invalidation messages. */
export interface HeldPushes {
  readonly port: number;
  /** The number of messages that are held. */
  readonly held: number;
  /** The number of commands so far that read sessions. */
  readonly reads: number;
  /** Forwards the held messages and all later ones. */
  release(): void;
  hold(): void;
  /** Stops forwarding in both directions, without closing the connections. */
  fallSilent(): void;
  stop(): Promise<void>;
}

/** The frame of an invalidation message (RESP3). */
const INVALIDATION = />2\r\n\$10\r\ninvalidate\r\n(?:\*1\r\n\$\d+\r\n[^\r]*\r\n|_\r\n)/g;

const READ = /\r\n(?:HMGET|HGETALL|EVALSHA|EVAL)\r\n/g;

/** Starts a proxy for a server on loopback, which holds messages from the beginning. */
export async function holdPushes(to: number): Promise<HeldPushes> {
  const sockets = new Set<Socket>();
  const waiting: { near: Socket; frame: string }[] = [];
  let holds = true;
  let isSilent = false;
  let reads = 0;

  const server = createServer((near) => {
    const far = connect(to, "127.0.0.1");
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        sockets.delete(socket);
        if (isSilent) return;
        near.destroy();
        far.destroy();
      });
    }
    near.on("data", (data) => {
      reads += data.toString("latin1").match(READ)?.length ?? 0;
      if (!isSilent) far.write(data);
    });
    let rest = "";
    far.on("data", (data) => {
      if (isSilent) return;
      rest += data.toString("latin1");
      const passed = rest.replace(INVALIDATION, (frame) => {
        if (!holds) return frame;
        waiting.push({ near, frame });
        return "";
      });
      // A frame may arrive in several chunks.
      const open = holds ? passed.lastIndexOf(">2\r\n") : -1;
      const end = open === -1 ? passed.length : open;
      near.write(Buffer.from(passed.slice(0, end), "latin1"));
      rest = passed.slice(end);
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The proxy has no port");

  return {
    port: address.port,
    get held() {
      return waiting.length;
    },
    get reads() {
      return reads;
    },
    release() {
      holds = false;
      for (const { near, frame } of waiting.splice(0)) near.write(Buffer.from(frame, "latin1"));
    },
    hold() {
      holds = true;
    },
    fallSilent() {
      isSilent = true;
    },
    async stop() {
      const closed = new Promise((done) => server.close(done));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
