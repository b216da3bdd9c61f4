import { sveltekit } from "@sveltejs/kit/vite";
import { createBuilder, preview } from "vite";

// SvelteKit builds in the working directory, which is a temporary one.
const config = () => ({
  root: process.cwd(),
  configFile: false as const,
  logLevel: "error" as const,
  plugins: [sveltekit({ files: { src: `${import.meta.dirname}/src` } })],
});

await (await createBuilder(config())).buildApp();
const server = await preview({ ...config(), preview: { host: "127.0.0.1", port: 0 } });
console.log(`Listening on ${server.resolvedUrls?.local[0]}`);
