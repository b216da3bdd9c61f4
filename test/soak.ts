import { randomInt } from "node:crypto";
import process from "node:process";
import { parseArgs } from "node:util";
import { createClient } from "redis";
import { memoryGround, redisGround } from "./support/model-grounds.ts";
import { runModel, summary } from "./support/model-runs.ts";
import { startServer } from "./support/redis-server.ts";

const { minutes } = parseArgs({ options: { minutes: { type: "string", default: "5" } } }).values;
const end = Date.now() + Number(minutes) * 60_000;
if (Number.isNaN(end)) throw new RangeError(`Cannot soak as --minutes must be a number: received ${minutes}`);

const server = process.env["REDIS_URL"] ? null : await startServer();
const client = createClient({ url: server?.url ?? process.env["REDIS_URL"] ?? "" });
client.on("error", () => {});
await client.connect();

const grounds = { memory: [memoryGround, 2000], Redis: [() => redisGround(client), 300] } as const;
const sequences = { memory: 0, Redis: 0 };
let failures = 0;
// Both backends run at least once, even if the time is nearly over.
while (failures === 0 && (Date.now() < end || sequences.Redis === 0)) {
  for (const [where, [makeGround, runs]] of Object.entries(grounds)) {
    const report = await runModel(makeGround, { runs, seed: randomInt(2 ** 31) });
    console.log(summary(where, report));
    sequences[where as keyof typeof sequences] += report.sequences;
    if (report.failure !== null) {
      failures++;
      console.error(`On ${where}, again with MODEL_RUNS=${runs} MODEL_SEED=${report.seed}: ${report.failure}`);
    }
  }
}
client.destroy();
await server?.stop();
console.log(`${sequences.memory + sequences.Redis - failures} passed, ${failures} failed`);
process.exitCode = failures === 0 ? 0 : 1;
