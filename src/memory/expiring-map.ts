/** An entry with an expiration that may change. All times are Unix milliseconds. */
export interface Timed {
  readonly key: string;
  /** The last millisecond before the entry expires. */
  expires: number;
  /** The expiration by which the heap is ordered; may be earlier than `expires`. */
  due: number;
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
  /** Removes expired entries: examines the `most` earliest ones and stops after removing `enough`. */
  sweep(now: number, most: number, enough?: number): void;
}

/**
 * Creates a map of entries that expire. A binary heap orders them by expiration. A later expiration is applied to the heap
 * only when the old one is reached, so a touch does not move anything. An earlier one is applied at once.
 */
export function expiringMap<E extends Timed>(): ExpiringMap<E> {
  const entries = new Map<string, E>();
  const heap: E[] = [];
  const due = (at: number): number => heap[at]?.due ?? Number.POSITIVE_INFINITY;

  function put(entry: E, at: number): void {
    heap[at] = entry;
    entry.at = at;
  }

  function rise(entry: E): void {
    let at = entry.at;
    for (let parent = (at - 1) >> 1; at > 0 && entry.due < due(parent); parent = (at - 1) >> 1) {
      put(heap[parent] as E, at);
      at = parent;
    }
    put(entry, at);
  }

  function sink(entry: E): void {
    let at = entry.at;
    for (;;) {
      const child = due(2 * at + 1) <= due(2 * at + 2) ? 2 * at + 1 : 2 * at + 2;
      if (entry.due <= due(child)) break;
      put(heap[child] as E, at);
      at = child;
    }
    put(entry, at);
  }

  function remove(entry: E): void {
    entries.delete(entry.key);
    const last = heap.pop() as E;
    if (last === entry) return;
    put(last, entry.at);
    rise(last);
    sink(last);
  }

  return {
    entries,
    add(entry) {
      entries.set(entry.key, entry);
      entry.due = entry.expires;
      put(entry, heap.length);
      rise(entry);
    },
    live(key, now) {
      const entry = entries.get(key);
      if (entry === undefined || now <= entry.expires) return entry ?? null;
      remove(entry);
      return null;
    },
    moved(entry) {
      if (entry.expires >= entry.due) return;
      entry.due = entry.expires;
      rise(entry);
    },
    remove,
    sweep(now, most, enough = most) {
      let removed = 0;
      for (let looked = 0; looked < most && removed < enough && due(0) < now; looked++) {
        const top = heap[0] as E;
        if (top.expires < now) {
          remove(top);
          removed++;
        } else {
          top.due = top.expires;
          sink(top);
        }
      }
    },
  };
}
