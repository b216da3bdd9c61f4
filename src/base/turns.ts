/**
 * Creates a function that runs tasks with the same key one after the other. Without it, a hundred parallel
 * compare-and-sets of one process would make each other fail, the last one ninety-nine times.
 */
export function serially(): <R>(key: string, task: () => Promise<R>) => Promise<R> {
  const tails = new Map<string, Promise<unknown>>();
  return (key, task) => {
    const turn = (tails.get(key) ?? Promise.resolve()).then(task);
    const tail = turn
      .catch(() => {})
      .finally(() => {
        if (tails.get(key) === tail) tails.delete(key);
      });
    tails.set(key, tail);
    return turn;
  };
}
