import { connect, createServer } from "node:net";
import process from "node:process";
import { setTimeout } from "node:timers";

/** A proxy for the server on the given loopback port. It delays every reply by this many milliseconds, of any size. */
const MS = 1;
const server = createServer((near) => {
  const far = connect(Number(process.argv[2]), "127.0.0.1");
  for (const socket of [near, far]) {
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.on("close", () => {
      near.destroy();
      far.destroy();
    });
  }
  near.on("data", (question) => far.write(question));
  far.on("data", (answer) => {
    setTimeout(() => near.write(answer), MS);
  });
}).listen(0, "127.0.0.1", () => console.log((server.address() as { port: number }).port));
