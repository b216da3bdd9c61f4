import { memoryBackend } from "../src/index.ts";
import { manualClock } from "../src/testing/index.ts";
import { limits } from "./support/limits.ts";

limits(() => {
  const clock = manualClock();
  const backend = memoryBackend();
  return {
    backend,
    now: clock.now,
    async expire(id) {
      const access = { verifier: null, previous: true, now: clock.now() };
      const shorter = { set: { session_ttl: "1" }, remove: [], fields: [] };
      await backend.write(id, access, shorter);
      clock.advance(1001);
    },
    minute: () => clock.advance(61_000),
  };
});
