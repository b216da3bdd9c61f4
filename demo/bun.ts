import { run } from "./run.ts";

await run("Bun.serve", (serving) => {
  const server = Bun.serve(serving);
  return { port: server.port, stop: () => server.stop() };
});
