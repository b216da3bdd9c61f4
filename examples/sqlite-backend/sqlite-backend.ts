import { DatabaseSync } from "node:sqlite";
import {
  type IndexPage,
  type Member,
  MIN_PRUNE_AGE,
  nullObject,
  type RunTransaction,
  randomText,
  type SessionBackend,
  SessionBackendError,
  type StoredRecord,
  sessionMethods,
} from "zession/backend";

/** Options for `sqliteBackend`. */
export interface SqliteBackendOptions {
  /** Returns the present time in Unix milliseconds. Default: `Date.now`, the clock of the host that has the file. */
  readonly now?: () => number;
}

/** A backend that owns a connection to a database. */
export interface SqliteBackend extends SessionBackend {
  /** Closes the database. Later calls fail. */
  close(): void;
}

/** Records and names of index entries are JSON, because some versions of `node:sqlite` cut text at a NUL character. */
const TABLES = `
  PRAGMA journal_mode = WAL;
  PRAGMA busy_timeout = 1000;
  PRAGMA foreign_keys = ON;
  CREATE TABLE IF NOT EXISTS sessions (key TEXT PRIMARY KEY, record TEXT NOT NULL, expires INTEGER NOT NULL) STRICT;
  CREATE INDEX IF NOT EXISTS sessions_by_end ON sessions (expires);
  CREATE TABLE IF NOT EXISTS indexes (entry TEXT PRIMARY KEY, expires INTEGER NOT NULL) STRICT;
  CREATE INDEX IF NOT EXISTS indexes_by_end ON indexes (expires);
  CREATE TABLE IF NOT EXISTS members (
    entry TEXT NOT NULL REFERENCES indexes ON DELETE CASCADE,
    key TEXT NOT NULL,
    score INTEGER NOT NULL,
    PRIMARY KEY (entry, key)
  ) STRICT, WITHOUT ROWID;
  CREATE UNIQUE INDEX IF NOT EXISTS members_by_score ON members (entry, score);
  CREATE TABLE IF NOT EXISTS shared (name TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT;
`;

const KEYS_PER_PAGE = 1000;
/** How many expired sessions and indexes a call removes at most. */
const SWEEP = 10;

/**
 * Creates a backend that stores sessions in a SQLite database. All processes that share it must run on one host, because
 * their clock decides when a session expires.
 *
 * @param path The file of the database; `:memory:` for a temporary one.
 */
export function sqliteBackend(path: string, { now = Date.now }: SqliteBackendOptions = {}): SqliteBackend {
  const database = new DatabaseSync(path);
  database.exec(TABLES);
  const sql = {
    find: database.prepare("SELECT record, expires FROM sessions WHERE key = ?"),
    store: database.prepare("INSERT OR REPLACE INTO sessions (key, record, expires) VALUES (?, ?, ?)"),
    remove: database.prepare("DELETE FROM sessions WHERE key = ?"),
    sweep: database.prepare(
      "DELETE FROM sessions WHERE key IN (SELECT key FROM sessions WHERE expires < ? ORDER BY expires LIMIT ?)",
    ),
    keys: database.prepare("SELECT key FROM sessions WHERE key > ? AND expires >= ? ORDER BY key LIMIT ?"),
    sweepIndexes: database.prepare(
      "DELETE FROM indexes WHERE entry IN (SELECT entry FROM indexes WHERE expires < ? ORDER BY expires LIMIT ?)",
    ),
    removeExpired: database.prepare("DELETE FROM indexes WHERE entry = ? AND expires < ?"),
    extend: database.prepare(
      "INSERT INTO indexes VALUES (?1, ?2) ON CONFLICT DO UPDATE SET expires = max(expires, excluded.expires)",
    ),
    score: database.prepare("SELECT score FROM members WHERE entry = ? AND key = ?"),
    last: database.prepare("SELECT max(score) AS score FROM members WHERE entry = ?"),
    enter: database.prepare("INSERT OR REPLACE INTO members (entry, key, score) VALUES (?, ?, ?)"),
    leave: database.prepare("DELETE FROM members WHERE entry = ?1 AND key = ?2 AND (?3 IS NULL OR score = ?3)"),
    size: database.prepare("SELECT count(*) AS size FROM members WHERE entry = ?"),
    page: database.prepare(
      "SELECT key, score FROM members WHERE entry = ? AND score > ? ORDER BY score LIMIT ? OFFSET ?",
    ),
    share: database.prepare("INSERT OR IGNORE INTO shared (name, text) VALUES (?, ?)"),
    shared: database.prepare("SELECT text FROM shared WHERE name = ?"),
  };

  /** @throws {SessionBackendError} If the database cannot be used. What was begun is rolled back. */
  function attempt<R>(call: () => R): R {
    try {
      return call();
    } catch (cause) {
      const message = "The SQLite database is not available";
      throw new SessionBackendError(message, { reason: "unavailable", outcome: "not-applied", cause });
    }
  }

  /** Runs a call as one transaction, so that it is applied completely or not at all. */
  function atomic<R>(call: (at: number) => R): R {
    return attempt(() => {
      database.exec("BEGIN IMMEDIATE");
      try {
        const result = call(now());
        database.exec("COMMIT");
        return result;
      } catch (error) {
        database.exec("ROLLBACK");
        throw error;
      }
    });
  }

  const find = (key: string): StoredRecord | null => {
    const row = sql.find.get(key);
    return row === undefined
      ? null
      : { record: Object.assign(nullObject(), JSON.parse(String(row["record"]))), expires: Number(row["expires"]) };
  };

  const transaction: RunTransaction = async (key, _, step, effect) => {
    if (effect === "reads") return attempt(() => step(find(key), now()).answer);
    return atomic((at) => {
      const { answer, next } = step(find(key), at);
      if (next) {
        sql.sweep.run(at, SWEEP);
        sql.store.run(key, JSON.stringify(next.record), next.expires);
      } else if (next === null) sql.remove.run(key);
      return answer;
    });
  };

  const membersOf = (entry: string, after: number, count: number, offset = 0): Member[] =>
    sql.page.all(entry, after, count, offset).map(({ key, score }) => ({ key: String(key), score: Number(score) }));

  const pageOf = (entry: string, after: number, count: number, at: number): IndexPage => {
    return { members: membersOf(entry, after, count), size: Number(sql.size.get(entry)?.["size"]), at };
  };

  /** Returns two members from a varying position, so that over many calls each member is returned. */
  const sampleOf = (entry: string, size: number): Member[] => membersOf(entry, 0, 2, Math.floor(Math.random() * size));

  /** Adds a key to an index with a score above all others, which is not before `since` in Unix milliseconds. */
  function add(entry: string, key: string, since: number): number {
    const score = Math.max(since * 1000, Number(sql.last.get(entry)?.["score"] ?? 0) + 1);
    sql.enter.run(entry, key, score);
    return score;
  }

  /** Runs a call on an index that lives at least until `expires`. */
  function onIndex<R>(entry: string, life: number, call: (at: number) => R): R {
    return atomic((at) => {
      sql.removeExpired.run(entry, at);
      sql.sweepIndexes.run(at, SWEEP);
      sql.extend.run(entry, at + life);
      return call(at);
    });
  }

  return {
    ...sessionMethods(transaction),

    async enter(index, key, life, count) {
      const entry = JSON.stringify(index);
      return onIndex(entry, life, (at) => {
        const isNew = sql.score.get(entry, key) === undefined;
        const score = add(entry, key, at);
        const page = pageOf(entry, 0, count, at);
        return { ...page, sample: sampleOf(entry, page.size), score, isNew };
      });
    },

    async extend(index, key, life) {
      const entry = JSON.stringify(index);
      return onIndex(entry, life, (at) => {
        const isNew = sql.score.get(entry, key) === undefined;
        if (isNew) add(entry, key, at - MIN_PRUNE_AGE);
        return { at, sample: sampleOf(entry, Number(sql.size.get(entry)?.["size"])), isNew };
      });
    },

    async page(index, after, count) {
      const entry = JSON.stringify(index);
      return atomic((at) => {
        sql.removeExpired.run(entry, at);
        return pageOf(entry, after, count, at);
      });
    },

    async leave(index, members) {
      const entry = JSON.stringify(index);
      atomic(() => {
        for (const { key, score } of members) sql.leave.run(entry, key, score);
      });
    },

    async shared(name) {
      return atomic(() => {
        sql.share.run(name, randomText(32));
        return String(sql.shared.get(name)?.["text"]);
      });
    },

    async *keys() {
      for (let after = ""; ; ) {
        const page = attempt(() => sql.keys.all(after, now(), KEYS_PER_PAGE)).map(({ key }) => String(key));
        yield page;
        if (page.length < KEYS_PER_PAGE) return;
        after = page.at(-1) ?? after;
      }
    },

    close: () => database.close(),
  };
}
