/** An entry with an expiration that may change. All times are Unix milliseconds. */
export interface Timed {
  readonly key: string;
  /** The last millisecond before the entry expires. */
  expires: number;
  /** The position in the heap. */
  at: number;
}

/** A map of entries that expire. */
export interface ExpiringMap<E extends Timed> {
  /** All entries by key, including expired ones that were not removed yet. */
  readonly entries: ReadonlyMap<string, E>;
  add(entry: E): void;
  /** Returns the entry for a key; `null` if it does not exist or has expired. Removes an expired entry. */
  live(key: string, now: number): E | null;
  /** Must be called after the expiration of an entry changed. */
  moved(entry: E): void;
  remove(entry: E): void;
  /** Removes the earliest expired entries, at most `most`. */
  sweep(now: number, most: number): void;
}

/**
 * Creates a map of entries that expire. A binary heap orders them by expiration, so that an expired entry is found at once
 * however many others there are.
 *
 * @param removed Called with each entry that was removed.
 */
export function expiringMap<E extends Timed>(removed: (entry: E) => void = () => {}): ExpiringMap<E> {
  const entries = new Map<string, E>();
  const heap: E[] = [];
  const expires = (at: number): number => heap[at]?.expires ?? Number.POSITIVE_INFINITY;

  function put(entry: E, at: number): void {
    heap[at] = entry;
    entry.at = at;
  }

  function rise(entry: E): void {
    let at = entry.at;
    for (let parent = (at - 1) >> 1; at > 0 && entry.expires < expires(parent); parent = (at - 1) >> 1) {
      put(heap[parent] as E, at);
      at = parent;
    }
    put(entry, at);
  }

  function sink(entry: E): void {
    let at = entry.at;
    for (;;) {
      const child = expires(2 * at + 1) <= expires(2 * at + 2) ? 2 * at + 1 : 2 * at + 2;
      if (entry.expires <= expires(child)) break;
      put(heap[child] as E, at);
      at = child;
    }
    put(entry, at);
  }

  function moved(entry: E): void {
    rise(entry);
    sink(entry);
  }

  function remove(entry: E): void {
    entries.delete(entry.key);
    const last = heap.pop() as E;
    if (last !== entry) {
      put(last, entry.at);
      moved(last);
    }
    removed(entry);
  }

  return {
    entries,
    add(entry) {
      entries.set(entry.key, entry);
      put(entry, heap.length);
      rise(entry);
    },
    live(key, now) {
      const entry = entries.get(key);
      if (entry === undefined || now <= entry.expires) return entry ?? null;
      remove(entry);
      return null;
    },
    moved,
    remove,
    sweep(now, most) {
      for (let count = 0; count < most && expires(0) < now; count++) remove(heap[0] as E);
    },
  };
}
