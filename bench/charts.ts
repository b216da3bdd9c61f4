import { readFileSync, writeFileSync } from "node:fs";
import { parse, View } from "vega";
import { compile, type TopLevelSpec } from "vega-lite";
import { APPS, DISTANT, type Result } from "./results.ts";

/**
 * Draws the results of the suite `http` that were kept with `--save`: `npm run charts`.
 */
const folder = new URL("./charts/", import.meta.url);
const { how, results } = JSON.parse(readFileSync(new URL("http.json", folder), "utf8")) as {
  how: string;
  results: Result[];
};

const COLORS: Readonly<Record<(typeof APPS)[number], string>> = {
  "no sessions": "#b0b7bf",
  "connect-redis": "#e1812c",
  "zession 0.1.0": "#9ec5e8",
  "zession, every read due": "#5b9bd5",
  zession: "#1f4e9c",
};
const WIDTH = 220;
const HEIGHT = 150;

/** A group of bars: one bar for each application, one group for each situation, one panel for each quantity. */
interface Bar {
  readonly app: string;
  readonly group: string;
  readonly panel: string;
  readonly value: number;
}

async function draw(name: string, title: string, bars: readonly Bar[], digits = ".0f"): Promise<void> {
  const distinct = (of: (bar: Bar) => string): string[] => [...new Set(bars.map(of))];
  const apps = APPS.filter((app) => bars.some((bar) => bar.app === app));
  const place = {
    x: {
      field: "group",
      type: "nominal",
      sort: distinct((bar) => bar.group),
      title: null,
      axis: { labelAngle: 0 },
    },
    xOffset: { field: "app", sort: apps },
    y: { field: "value", type: "quantitative", title: null, axis: { tickCount: 4, domain: false } },
  } as const;
  const spec: TopLevelSpec = {
    title: { text: title, subtitle: how, anchor: "start", subtitleColor: "#666" },
    background: "white",
    padding: 12,
    data: { values: bars },
    facet: {
      field: "panel",
      type: "nominal",
      title: null,
      sort: distinct((bar) => bar.panel),
      header: { labelFontSize: 12 },
    },
    columns: 3,
    resolve: { scale: { y: "independent" } },
    spec: {
      width: Math.max(WIDTH, distinct((bar) => bar.group).length * apps.length * 24),
      height: HEIGHT,
      layer: [
        {
          mark: { type: "bar", cornerRadiusEnd: 1 },
          encoding: {
            ...place,
            color: {
              field: "app",
              sort: apps,
              title: null,
              scale: { domain: apps, range: apps.map((app) => COLORS[app]) },
              legend: { orient: "top", columns: 5, labelLimit: 0 },
            },
          },
        },
        {
          mark: { type: "text", dy: -5, fontSize: 8, color: "#444" },
          encoding: { ...place, text: { field: "value", type: "quantitative", format: digits } },
        },
      ],
    },
    config: { view: { stroke: null }, font: "sans-serif", axis: { grid: false } },
  };
  const svg = await new View(parse(compile(spec).spec), { renderer: "none" }).toSVG();
  // Roles and labels of single marks and more than two digits would make the files three times as large.
  const short = svg
    .replace(/ (?:aria-[a-z]+|role)="[^"]*"/g, "")
    .replace(/\d+\.\d{3,}/g, (number) => String(Number(Number(number).toFixed(2))));
  writeFileSync(new URL(`${name}.svg`, folder), `${short}\n`);
}

const RUNTIMES = { node: "Node", bun: "Bun", deno: "Deno" } as const;
const isLoop = ({ arrivals, where }: Result): boolean => arrivals === null && where === "";

/** Bars of the closed loop without network: one panel for each runtime, one group for each number of connections. */
const loops = (of: (result: Result) => number, isShown: (result: Result) => boolean = () => true): Bar[] =>
  results
    .filter((one) => isLoop(one) && isShown(one))
    .map((one) => ({
      app: one.app,
      panel: RUNTIMES[one.runtime],
      group: String(one.connections),
      value: of(one),
    }));
const hasSessions = ({ app }: Result): boolean => app !== "no sessions";

await draw(
  "server",
  "Server processor time per request, in µs, by connections",
  loops((one) => one.server),
);
await draw(
  "redis",
  "Redis processor time per request, in µs, by connections",
  loops((one) => one.redis, hasSessions),
  ".1f",
);
await draw(
  "rate",
  "Thousand requests per second, by connections",
  loops((one) => one.rate / 1000),
  ".1f",
);
await draw(
  "open",
  "Open loop: processor time per request, in µs, by runtime",
  results
    .filter(({ arrivals }) => arrivals !== null)
    .flatMap((one) => [
      { app: one.app, panel: `Server, ${one.arrivals} requests/s`, group: RUNTIMES[one.runtime], value: one.server },
      ...(hasSessions(one) ? [{ app: one.app, panel: "Redis", group: RUNTIMES[one.runtime], value: one.redis }] : []),
    ]),
);
await draw(
  "distant",
  "With 1 ms of network, on Node, by connections",
  results
    .filter((one) => one.where === DISTANT && hasSessions(one))
    .flatMap((one) => [
      { app: one.app, panel: "thousand requests/s", group: String(one.connections), value: one.rate / 1000 },
      { app: one.app, panel: "median latency, ms", group: String(one.connections), value: one.p50 / 1000 },
    ]),
  ".1f",
);
await draw(
  "summary",
  "A request that reads its session, 64 connections",
  results
    .filter((one) => isLoop(one) && one.connections === 64 && one.app !== "zession 0.1.0")
    .flatMap((one) => [
      { app: one.app, panel: "server processor time, µs", group: RUNTIMES[one.runtime], value: one.server },
      ...(hasSessions(one)
        ? [{ app: one.app, panel: "Redis processor time, µs", group: RUNTIMES[one.runtime], value: one.redis }]
        : []),
    ]),
);
