import { run } from "./run.ts";

declare const Deno: {
  serve(
    options: { hostname: string; port: number; onListen(): void },
    fetch: (request: Request) => Promise<Response>,
  ): { readonly addr: { readonly port: number }; shutdown(): Promise<void> };
};

await run("Deno.serve", ({ fetch, hostname, port }) => {
  const server = Deno.serve({ hostname, port, onListen() {} }, fetch);
  return { port: server.addr.port, stop: () => server.shutdown() };
});
