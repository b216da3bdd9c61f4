import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { serve } from "@hono/node-server";
import { run } from "./run.ts";

await run("node:http", async (serving) => {
  const server = serve(serving);
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    stop: () => new Promise((stopped) => server.close(stopped)),
  };
});
