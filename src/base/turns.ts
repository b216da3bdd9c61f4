/**
 * Runs tasks of the same key one after the other, so that the compare-and-sets of one process do not contend with each
 * other: among a hundred at once the last would lose ninety-nine times.
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
