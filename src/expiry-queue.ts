/** What ends at some time that may still be put off. */
export interface Timed {
  /** The last millisecond at which it lives. */
  expires: number;
  /** Its end as the queue knows it, and its place there. */
  due: number;
  at: number;
}

/**
 * Things in the order of their ends: a binary heap in which an end that was put off is found out only when its old
 * moment comes, so that a touch costs nothing here. One that was brought forward moves up at once.
 */
export function expiryQueue<E extends Timed>(): {
  add(entry: E): void;
  advance(entry: E): void;
  remove(entry: E): void;
  due(now: number, most: number): Generator<E>;
} {
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
    const last = heap.pop() as E;
    if (last === entry) return;
    put(last, entry.at);
    rise(last);
    sink(last);
  }

  return {
    add(entry) {
      entry.due = entry.expires;
      put(entry, heap.length);
      rise(entry);
    },
    advance(entry) {
      if (entry.expires >= entry.due) return;
      entry.due = entry.expires;
      rise(entry);
    },
    remove,
    /** Takes out the entries that have ended, looking at the `most` earliest. */
    *due(now, most) {
      for (let looked = 0; looked < most && due(0) < now; looked++) {
        const top = heap[0] as E;
        if (top.expires < now) {
          remove(top);
          yield top;
        } else {
          top.due = top.expires;
          sink(top);
        }
      }
    },
  };
}
