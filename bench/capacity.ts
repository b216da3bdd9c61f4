import { createClient } from "redis";
import { createSessionStore } from "../src/index.ts";
import { AT_LIMIT } from "../src/indexes/limits.ts";
import { redisBackend } from "../src/redis/index.ts";
import { startServer } from "../test/support/redis-server.ts";
import { visitor, visitorOf } from "./data.ts";
import { alternate, type Contender, middle, options, POOL, printTable, thousands } from "./runner.ts";

/** The assumed memory of a primary, in gigabytes. Its commands run on one core. */
const MASTER_GB = 12;
const MASTERS = [1, 3, 30];
const MEMBERS = [1, 1000, 10_000, 100_000];
/** The number of members that the library reads at a time. */
const MEMBERS_PER_PAGE = 500;
const FULL = 512;
const FEW = 8;
const INDEX_LIFE_MS = "3600000";

const server = await startServer();
const admin = await createClient({ url: server.url }).connect();
const client = await createClient({ url: server.url }).connect();
const backend = redisBackend(client);
const plain = { schema: visitor, backend };
const store = createSessionStore(plain);
const eager = createSessionStore({ ...plain, touchInterval: 0 });
const indexed = createSessionStore({ ...plain, indexes: { user: "userId" } });

/** Measures the processor time of the primary per operation, in microseconds, at the given concurrency. */
async function costsOf(contenders: readonly Contender[], concurrency: number): Promise<(name: string) => number> {
  const turns = await alternate(contenders, concurrency, admin);
  return (name) => middle(turns, name, ({ redis }) => redis);
}

const tokens: string[] = [];
const ids: string[] = [];
for (let number = 0; number < POOL; number++) {
  const { token, session } = await store.create(visitorOf(number));
  tokens.push(token);
  ids.push(session.id);
}
const token = (slot: number): string => tokens[slot] as string;
const perSession = Number(await admin.memoryUsage(`session:${ids[0]}`, { SAMPLES: 0 }));
const limit = options.ms * 10;
const contenders: readonly Contender[] = [
  { name: "get", run: (slot) => store.get(token(slot)) },
  { name: "get, every read due", run: (slot) => eager.get(token(slot)) },
  { name: "patch", run: (slot) => store.update(token(slot), { locale: slot % 2 ? "en-GB" : "fr-FR" }) },
  { name: "increment", run: (slot) => store.increment(token(slot), "visits") },
  {
    name: "rotate",
    async run(slot) {
      tokens[slot] = (await store.rotate(token(slot)))?.token ?? "";
    },
  },
  { name: "create", limit, run: (slot) => store.create(visitorOf(slot)) },
  { name: "create with an index", limit, run: (slot) => indexed.create(visitorOf(slot)) },
];
const crowded = await costsOf(contenders, FULL);
const alone = await costsOf(contenders, 1);
const created = Number(/used_memory:(\d+)/.exec(await admin.info("memory"))?.[1]);
const keys = await admin.dbSize();

const perSecond = (micros: number): number => 1e6 / micros;
const costRows = contenders.map(({ name }) => [
  name,
  crowded(name).toFixed(1),
  alone(name).toFixed(1),
  thousands(perSecond(crowded(name))),
]);
printTable(
  "What an operation costs a Redis primary",
  ["", "us of processor, 512 at once", "us of processor, one at a time", "/s at most"],
  costRows,
);

const sessions = (MASTER_GB * 1e9) / (created / keys);
const rowsOf = (masters: number): string[] => {
  const rate = (name: string): number => masters * perSecond(crowded(name));
  const held = masters * sessions;
  const secondsBetween = (name: string): string => (held / rate(name)).toFixed(0);
  return [
    String(masters),
    `${(held / 1e6).toFixed(0)} M`,
    thousands(rate("get")),
    thousands(rate("get, every read due")),
    thousands(rate("create with an index")),
    `${secondsBetween("get")} s`,
    `${secondsBetween("get, every read due")} s`,
  ];
};
printTable(
  `Primaries of ${MASTER_GB} GB: ${perSession} bytes per session by MEMORY USAGE, ${(created / keys).toFixed(0)} with its share of the key tables`,
  [
    "primaries",
    "sessions",
    "get /s",
    "get, every read due /s",
    "logins /s",
    "processor-bound if used more often than every",
    "the same, every read due",
  ],
  MASTERS.map(rowsOf),
);

/** The costs of an index value with many members, which is one key on one primary. */
const hotRows: string[][] = [];
for (const members of MEMBERS) {
  const entry = `hot:${members}`;
  while ((await admin.zCard(`session:index:${entry}`)) < members) {
    const before = await admin.zCard(`session:index:${entry}`);
    const batch = Array.from({ length: Math.min(FULL, members - before) }, (_, at) =>
      backend.enter(entry, `${before + at}`.padStart(22, "k"), Number(INDEX_LIFE_MS), 0, Date.now()),
    );
    await Promise.all(batch);
  }
  let next = 0;
  const enter = (count: number) => async () => {
    const key = `${next++ % members}`.padStart(22, "k");
    await backend.enter(entry, key, Number(INDEX_LIFE_MS), count, Date.now());
  };
  const costs = await costsOf(
    [
      { name: "enter", run: enter(0) },
      { name: "enter, under a limit", run: enter(AT_LIMIT) },
    ],
    FULL,
  );
  const pages = await costsOf([{ name: "page", run: () => backend.page(entry, 0, MEMBERS_PER_PAGE, Date.now()) }], FEW);
  const bytes = Number(await admin.memoryUsage(`session:index:${entry}`, { SAMPLES: 0 }));
  hotRows.push([
    String(members),
    costs("enter").toFixed(1),
    costs("enter, under a limit").toFixed(1),
    thousands(perSecond(costs("enter"))),
    pages("page").toFixed(0),
    (bytes / members).toFixed(0),
  ]);
}
printTable(
  "One index value",
  [
    "members",
    "us of processor to add one",
    "the same, with a limit",
    "additions /s at most",
    `us of processor for a page of ${MEMBERS_PER_PAGE}`,
    "bytes per member",
  ],
  hotRows,
);
client.destroy();
admin.destroy();
await server.stop();
