type HandleCache = Parameters<import("redis").BasicPooledClientSideCache["handleCache"]>;
type Kept = ReturnType<import("redis").BasicPooledClientSideCache["createPromiseEntry"]>;

/** The number of cached sessions, which takes some tens of megabytes. */
const CACHE_ENTRIES = 10_000;

/** Returns the setting for client-side caching, or nothing if it is off. */
export function cacheSetting(
  { BasicPooledClientSideCache }: typeof import("redis"),
  { clientSideCache }: { readonly clientSideCache?: boolean | undefined },
): { clientSideCache?: import("redis").BasicPooledClientSideCache } {
  if (!clientSideCache) return {};
  /**
   * Skips the deep copy that node-redis makes of each reply, a fifth of the time of a read: the backend modifies none.
   */
  class SharingCache extends BasicPooledClientSideCache {
    /** The number of replies that came from Redis and not from the cache. */
    replies = 0;

    override async handleCache(...[client, parser, send, transform, types]: HandleCache): Promise<unknown> {
      const name = JSON.stringify(parser.redisArgs);
      const kept = this.get(name) as Kept | undefined;
      if (kept !== undefined) return await kept.promise;
      const answer = send().then((raw) => {
        this.replies++;
        return transform ? transform(raw, parser.preserve, types) : raw;
      });
      const entry = this.createPromiseEntry(client, answer);
      this.set(name, entry, parser.keys);
      answer.catch(() => entry.validate() && this.delete(name));
      return await answer;
    }
  }
  return { clientSideCache: new SharingCache({ ttl: 0, maxEntries: CACHE_ENTRIES, evictPolicy: "LRU" }) };
}
