/** What is kept under a key and ends at some time that may still be put off. */
export interface Timed {
  readonly key: string;
  /** The last millisecond at which it lives. */
  expires: number;
  /** Its end as the queue knows it, and its place there. */
  due: number;
  at: number;
}

/** A map whose entries end. */
export interface ExpiringMap<E extends Timed> {
  readonly entries: ReadonlyMap<string, E>;
  add(entry: E): void;
  /** The entry under a key unless it has ended, which removes it. */
  live(key: string, now: number): E | null;
  /** Called after the end of an entry was changed. */
  moved(entry: E): void;
  remove(entry: E): void;
  /** Removes entries that have ended, looking at the `most` earliest, until `enough` are gone. */
  sweep(now: number, most: number, enough?: number): void;
}

/**
 * Entries are also kept in the order of their ends: a binary heap in which an end that was put off is found out only when
 * its old moment comes, so that a touch costs nothing here. One that was brought forward moves up at once.
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
      let gone = 0;
      for (let looked = 0; looked < most && gone < enough && due(0) < now; looked++) {
        const top = heap[0] as E;
        if (top.expires < now) {
          remove(top);
          gone++;
        } else {
          top.due = top.expires;
          sink(top);
        }
      }
    },
  };
}
