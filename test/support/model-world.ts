import * as z from "zod";
import {
  createSessionStore,
  SessionConflictError,
  SessionDataError,
  type SessionEvent,
  type SessionPage,
  type SessionStore,
} from "../../src/index.ts";
import { followed } from "./backends.ts";
import { type Change, type Model, modelOf, type Outcome } from "./model.ts";
import { changeOf, type Data, isLit, MAX_VIEWS, MIN_VIEWS, STEP } from "./model-data.ts";
import type { Ground } from "./model-grounds.ts";
import { pick, timeUntil, tokenOf } from "./model-picks.ts";
import { MAX_SESSIONS, type Rules } from "./model-state.ts";
import type { Step, TokenOf } from "./model-steps.ts";

const schema = z.object({
  userId: z.string().optional(),
  tags: z.array(z.string()).default(() => []),
  theme: z.enum(["light", "dark"]).default("light"),
  views: z.int().min(MIN_VIEWS).max(MAX_VIEWS).default(0),
  steps: z
    .number()
    .refine((steps) => steps % STEP === 0)
    .default(10),
  flash: z.string().optional(),
});
const lit = schema.refine(isLit);

type Store = SessionStore<Data, z.input<typeof schema>, "user" | "tag">;

/** A real store and its model. */
export interface World {
  readonly ground: Ground;
  readonly rules: Rules;
  readonly store: Store;
  readonly model: Model;
  /** Resolves when nothing is under way behind an answer. */
  readonly quiet: () => Promise<void>;
  /** Returns the events since the previous call. */
  takeEvents(): SessionEvent[];
}

export function worldOf(ground: Ground, rules: Rules): World {
  let events: SessionEvent[] = [];
  const { indexed, limit, refined, ...timeouts } = rules;
  const { backend, quiet } = followed(ground.backend);
  const store = createSessionStore({
    schema: refined ? lit : schema,
    backend,
    ...timeouts,
    absoluteTimeout: timeouts.absoluteTimeout ?? "none",
    indexes: indexed
      ? {
          user: { from: "userId", limit: limit === null ? undefined : { max: MAX_SESSIONS, whenFull: limit } },
          tag: { from: "tags", values: (tags) => tags },
        }
      : undefined,
    now: ground.now,
    onEvent: (event) => events.push(event),
    operationTimeout: "30s",
  });
  return {
    ground,
    rules,
    store: store as Store,
    model: modelOf(rules, ground.now(), ground.aging),
    quiet,
    takeEvents() {
      const taken = events;
      events = [];
      return taken;
    },
  };
}

/** A step on the store, and the result that the model expects, given the actual one. */
export interface Act {
  readonly call: () => Promise<unknown>;
  readonly expected: (actual: Outcome) => Outcome;
  readonly presented?: string;
}

export function actOf({ ground, store, model, rules }: World, step: Step): Act {
  const query = (entry: string) => {
    const [index, value] = entry.split(/:(.*)/s);
    return { [index as string]: value } as never;
  };
  const nothing: Act = { call: async () => undefined, expected: () => ({ value: undefined }) };

  if (step.do === "wait") {
    const milliseconds = timeUntil(step.until, model, rules, ground.blur);
    return {
      call: () => ground.advance(milliseconds),
      expected: () => ({ value: model.advance(milliseconds) }),
    };
  }
  if (step.do === "create") {
    const { data, do: _, ...options } = step;
    return {
      call: () => withCopy(data, (copy) => store.create(copy as never, options)),
      expected: (actual) => model.create(data, options, issuedOf(actual)),
    };
  }
  if (step.do === "scan") {
    return {
      call: async () => {
        const sessions = [];
        for await (const session of store.scan()) sessions.push(session);
        return byId(sessions);
      },
      expected: () => ({ value: byId(model.sessions.filter(model.isLive).map(model.snapshot)) }),
    };
  }
  if (step.do === "revoke") {
    const id = pick(model, step)?.id ?? "i".repeat(22);
    return { call: () => store.revoke(id), expected: () => model.revoke(id) };
  }
  if ("entry" in step) {
    const { entry } = step;
    if (step.do === "count") {
      return { call: () => store.count(query(entry)), expected: () => ({ value: model.under(entry).length }) };
    }
    if (step.do === "list") {
      const { limit } = step;
      return {
        call: async () => {
          // A page may have fewer sessions than its limit, as those that have ended are left out.
          const { sessions, cursor } = await store.list(query(entry), { limit });
          const found = [...sessions];
          for (let next = cursor; next !== null && found.length < (limit ?? 100); ) {
            const page: SessionPage<Data> = await store.list(query(entry), { limit, cursor: next });
            found.push(...page.sessions);
            next = page.cursor;
          }
          return byId(found.slice(0, limit ?? 100));
        },
        expected: (actual) => listed(model, entry, limit, actual),
      };
    }
    if (step.do === "revokeAll") {
      const except = step.except === undefined ? undefined : pick(model, { session: step.except });
      return {
        call: () => store.revokeAll(query(entry), { except }),
        expected: (actual) => model.revokeAll(entry, except?.id ?? null, actual),
      };
    }
    const change = changeOf(step.change);
    if (model.isMixed(entry, change)) return nothing;
    return {
      call: () => withCopy(change, (copy) => store.updateAll(query(entry), copy as never)),
      expected: () => model.updateAll(entry, change),
    };
  }
  const presented = tokenOf(model, step.of);
  return { presented, ...byToken(store, model, presented, step) };
}

/** Steps that present a token. */
function byToken(store: Store, model: Model, token: string, step: Extract<Step, { of: TokenOf }>): Act {
  switch (step.do) {
    case "get":
      return { call: () => store.get(token), expected: () => model.get(token) };
    case "peek":
      return { call: () => store.peek(token), expected: () => model.peek(token) };
    case "destroy":
      return { call: () => store.destroy(token), expected: () => model.destroy(token) };
    case "update": {
      const change = changeOf(step.change);
      return {
        call: () => withCopy(change, (copy) => store.update(token, copy as never)),
        expected: (actual) => model.update(token, change, actual),
      };
    }
    case "increment":
      return {
        call: () => store.increment(token, step.field, step.by),
        expected: (actual) => model.increment(token, step.field, step.by, actual),
      };
    case "take":
      return { call: () => store.take(token, step.field), expected: (actual) => model.take(token, step.field, actual) };
    case "setIdleTimeout":
      return {
        call: () => store.setIdleTimeout(token, step.seconds),
        expected: (actual) => model.setIdleTimeout(token, step.seconds, actual),
      };
    case "rotate": {
      const { do: _, of: __, change, ...options } = step;
      const patch = change && changeOf(change);
      return {
        call: () => withCopy(patch, (copy) => store.rotate(token, { ...options, patch: copy } as never)),
        expected: (actual) => model.rotate(token, { ...options, patch }, issuedOf(actual), actual),
      };
    }
  }
}

/** Passes a copy and modifies it afterwards, as the stored data must not change with it. */
async function withCopy<R>(change: Change | undefined, call: (copy: Change | undefined) => Promise<R>): Promise<R> {
  if (typeof change !== "object") return await call(change);
  const copy: Record<string, unknown> = structuredClone(change);
  try {
    return await call(copy);
  } finally {
    if (Array.isArray(copy["tags"])) copy["tags"].push("z");
    copy["views"] = 4;
  }
}

export function issuedOf(
  outcome: Outcome,
): { readonly token: string; readonly session: { readonly id: string } } | null {
  if ("error" in outcome || typeof outcome.value !== "object") return null;
  return outcome.value as ReturnType<typeof issuedOf>;
}

function listed(model: Model, entry: string, limit: number | undefined, actual: Outcome): Outcome {
  if (limit === 0) return { error: "RangeError" };
  const all = model.under(entry).map(model.snapshot);
  if (limit === undefined || limit >= all.length || "error" in actual) return { value: byId(all) };
  const ids = (actual.value as { id: string }[]).map(({ id }) => id);
  const some = all.filter(({ id }) => ids.includes(id));
  return { value: byId(some.length === limit ? some : all.slice(0, limit)) };
}

const byId = <S extends { readonly id: string }>(sessions: S[]): S[] => sessions.sort((a, b) => (a.id < b.id ? -1 : 1));

/** The class and reason of an error, as text. */
export function kindOf(error: unknown): string {
  if (error instanceof SessionDataError) return `SessionDataError ${error.origin}`;
  if (error instanceof SessionConflictError) return `SessionConflictError ${error.reason}`;
  if (error instanceof TypeError || error instanceof RangeError) return error.name;
  return String(error);
}
