import { defineConfig } from "tsup";
import jsr from "./jsr.json" with { type: "json" };

export default defineConfig({
  // One list of entry points, for npm and for JSR.
  entry: Object.values(jsr.exports),
  format: ["esm"],
  target: "es2022",
  platform: "neutral",
  sourcemap: true,
  clean: true,
  treeshake: false,
  splitting: true,
});
