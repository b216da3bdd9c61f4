import { execFile } from "node:child_process";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import process from "node:process";
import { promisify } from "node:util";
import ts from "typescript";
import { beforeAll, describe, expect, test } from "vitest";

// Compiles programs against the declarations that the package ships, as an application does. `npm run check` compiles the same
// programs against the source.

/** The versions of TypeScript, by the name of their package. */
const COMPILERS = {
  "5.6": "typescript-5.6",
  "5.9": "typescript-5.9",
  "6.0": "typescript",
  "7.0": "typescript-7",
} as const;

const PROGRAMS = [
  "visits.ts",
  "requests.ts",
  "stores.ts",
  "people.ts",
  "transports.ts",
  "backends.ts",
  "codecs.ts",
  "redis.ts",
  "misuse.ts",
  "hovers.ts",
];
const EXACT = { exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true };
const DOM = ["ES2022", "DOM", "DOM.Iterable"];

/** The configurations of applications. */
const CONFIGURATIONS = {
  "lib ES2022": { lib: ["ES2022"], types: ["node"], skipLibCheck: false },
  "lib ES2022 and exactOptionalPropertyTypes": { lib: ["ES2022"], types: ["node"], skipLibCheck: false, ...EXACT },
  "lib ES2022 and DOM, without @types/node": { lib: DOM, types: [], skipLibCheck: false },
  "the clients of node-redis": { lib: DOM, types: ["node"], skipLibCheck: true, ...EXACT },
} as const;

/** Inside node_modules, so that the programs find zod and redis. */
const folder = "node_modules/.cache/zession-consumers";
const run = promisify(execFile);

/** Compiles the programs and returns the errors. */
async function compile(
  version: keyof typeof COMPILERS,
  name: string,
  config: object,
  files: string[],
): Promise<string> {
  const project = `${folder}/tsconfig.${version}.${name.replaceAll(/\W+/g, "-")}.json`;
  const compilerOptions = {
    target: "ES2022",
    module: "NodeNext",
    moduleResolution: "NodeNext",
    allowImportingTsExtensions: true,
    noEmit: true,
    strict: true,
    ...config,
  };
  await writeFile(project, JSON.stringify({ compilerOptions, files }));
  const compiler = `node_modules/${COMPILERS[version]}/bin/tsc`;
  const ending = run(process.execPath, [compiler, "-p", project, "--pretty", "false"]);
  const { stdout } = await ending.catch((error: { stdout: string }) => error);
  return stdout;
}

beforeAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await mkdir(`${folder}/node_modules/zession`, { recursive: true });
  await cp("package.json", `${folder}/node_modules/zession/package.json`);
  const { scripts } = JSON.parse(await readFile("package.json", "utf8"));
  const [, ...options] = scripts["build:types"].replace("--outDir dist", "").trim().split(/ +/);
  const outDir = `${folder}/node_modules/zession/dist`;
  await run(process.execPath, ["node_modules/typescript/bin/tsc", ...options, "--outDir", outDir]);
  await writeFile(`${folder}/package.json`, JSON.stringify({ type: "module" }));
  for (const program of [...PROGRAMS, "clients.ts", "exact.ts"]) {
    await cp(`test/consumers/${program}`, `${folder}/${program}`);
  }
}, 60_000);

describe.each(Object.keys(COMPILERS) as (keyof typeof COMPILERS)[])("TypeScript %s", (version) => {
  test.each(Object.entries(CONFIGURATIONS))(
    "programs and wrong uses compile as they should with %s",
    async (name, config) => {
      const more = [
        ...(config.skipLibCheck ? ["clients.ts"] : []),
        ...("exactOptionalPropertyTypes" in config ? ["exact.ts"] : []),
      ];
      expect(await compile(version, name, config, [...PROGRAMS, ...more])).toBe("");
    },
    120_000,
  );
});

/** What the compiler says about a wrong use, by a part of its line. */
const MESSAGES: Readonly<Record<string, string>> = {
  'idleTimeout: "30 minutes"': `'"30 minutes"' is not assignable to type 'Duration | undefined'`,
  idleTimout: "Did you mean to write 'idleTimeout'?",
  "z.union(": `'"union"' is not assignable to type '"object"'`,
  ".transform(": `'"pipe"' is not assignable to type '"object"'`,
  "schema.readonly()": `'"readonly"' is not assignable to type '"object"'`,
  "limits: { user:": "'limits' does not exist in type 'SessionStoreOptions<",
  "store.get(session.id)": "'SessionId' is not assignable to parameter of type 'SessionToken'",
  "store.revoke(token)": "'SessionToken' is not assignable to parameter of type 'SessionId'",
  "plain.create({})": "'{}' is not assignable to parameter of type 'CreateInput<{ userId: string;",
  "async (previous)": "'Promise<{ userId: string | undefined; }>'",
  "basket: previous.basket": "'previous' is possibly 'null'",
  "authenticated: false": "'false' is not assignable to type 'true | Date | undefined'",
  "authenticated: 1_700_000_000": "'number' is not assignable to type 'true | Date | undefined'",
  'transport: "bearer", cookie': "'{ path: string; }' is not assignable to type 'undefined'",
  "headers.has": "Property 'headers' does not exist on type 'SessionRequest'",
  "onCookie(bearer)": "is not assignable to parameter of type 'RequestSession<",
  "({ userId: user, note })": "Property 'n' is missing in type",
  "({ userId: user, n: 0 })": "Property 'note' is missing in type",
  "vews: 1": "'vews' does not exist",
  "tenant: ":
    "in type '{ readonly user: string; readonly product?: undefined; } | { readonly product: string; readonly user?:",
  "timeoutMs: 100": "'timeoutMs' does not exist in type 'ReplicaConfirmation'",
};

test("the errors of the compiler name the data once, and the fields and options concerned", async () => {
  const text = await readFile("test/consumers/misuse.ts", "utf8");
  await writeFile(`${folder}/errors.ts`, text.replaceAll(/^( *\/\/) @ts-expect-error/gm, "$1"));
  const output = await compile("6.0", "errors", CONFIGURATIONS["lib ES2022"], ["errors.ts"]);
  const errors = output.split(/^(?=\S)/m);
  const lines = text.split("\n");
  const messages = new Map<string, string>();
  for (const error of errors) {
    const line = lines[Number(/\((\d+),/.exec(error)?.[1]) - 1] ?? "";
    messages.set(line, `${messages.get(line) ?? ""}${error}`);
  }
  expect(messages.size).toBe(text.match(/@ts-expect-error/g)?.length);
  for (const [use, message] of Object.entries(MESSAGES)) {
    const [, said] = [...messages].find(([line]) => line.includes(use)) ?? [];
    expect(said, use).toContain(message);
  }
}, 120_000);

/** Returns what an editor shows for the names behind the marks of a program. */
function hoversOf(path: string, text: string): string[] {
  const service = ts.createLanguageService({
    getScriptFileNames: () => [path],
    getScriptVersion: () => "1",
    getScriptSnapshot: (name) => ts.ScriptSnapshot.fromString(ts.sys.readFile(name) ?? ""),
    getCurrentDirectory: () => process.cwd(),
    getCompilationSettings: () => ({
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.NodeNext,
      strict: true,
      types: ["node"],
    }),
    getDefaultLibFileName: ts.getDefaultLibFilePath,
    fileExists: ts.sys.fileExists,
    readFile: ts.sys.readFile,
  });
  return [...text.matchAll(/\/\*\?\*\/ /g)].map(({ index, 0: mark }) => {
    const info = service.getQuickInfoAtPosition(path, index + mark.length);
    return ts.displayPartsToString(info?.displayParts);
  });
}

test("an editor shows the fields of the data, once in the data of a store and once in what create accepts", async () => {
  const hovers = hoversOf(`${folder}/hovers.ts`, await readFile("test/consumers/hovers.ts", "utf8"));
  expect(hovers).toHaveLength(7);
  const [store, issued, found] = hovers;
  for (const hover of hovers) {
    expect(hover).not.toMatch(/Zod|NewData|SessionSchema|NoInfer|\.\.\. /);
    expect(hover.match(/views\??: number/g), hover).toHaveLength(hover === issued || hover === found ? 1 : 2);
  }
  expect(store).toBe(`const store: SessionStore<{
    role: "user" | "admin";
    views: number;
    userId?: string | undefined;
}, {
    userId?: string | undefined;
    role?: "user" | "admin" | undefined;
    views?: number | undefined;
}, "user">`);
}, 60_000);

test("the classes of errors keep their names in the built package", async () => {
  const outDir = `${folder}/node_modules/zession/dist`;
  await run(process.execPath, ["node_modules/tsup/dist/cli-default.js", "--out-dir", outDir, "--no-clean"]);
  const program = `import * as all from "zession";
    console.log(Object.entries(all).filter(([name]) => name.endsWith("Error")).map(([key, { name }]) => key + " " + name).join())`;
  await writeFile(`${folder}/names.js`, program);
  const { stdout } = await run(process.execPath, [`${folder}/names.js`]);
  const names = ["SessionBackendError", "SessionConflictError", "SessionDataError", "SessionRequiredError"];
  expect(stdout.trim().split(",").toSorted()).toEqual(names.map((name) => `${name} ${name}`));
}, 60_000);
