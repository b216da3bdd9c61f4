/**
 * The atomic steps of the Redis backend on indexes, under the rules of session-scripts.ts.
 *
 * @module
 */
import { reserved, TOMBSTONE_FIELD } from "../record.ts";
import { CLOCK, HEAD, headField, type Script, script } from "./session-scripts.ts";

/**
 * Deletes a session if it is under an index entry.
 *
 * KEYS[1] session
 * ARGV[1] entry, ARGV[2] milliseconds for which a tombstone keeps an absent key from becoming a session, 0 for none
 *
 * Returns the reserved fields of the session that it ended, 'other' if it is not under this entry, or 'nothing'.
 */
export const REVOKE: Script = script(/* lua */ `
if redis.call('EXISTS', KEYS[1]) == 1 and redis.call('HEXISTS', KEYS[1], '${TOMBSTONE_FIELD}') == 0 then
  local head = redis.call('HMGET', KEYS[1], ${HEAD})
  local readable, entries = pcall(cjson.decode, ${headField(reserved.index)} or '[]')
  for _, entry in ipairs(readable and type(entries) == 'table' and entries or {}) do
    if entry == ARGV[1] then
      redis.call('DEL', KEYS[1])
      return head
    end
  end
  return 'other'
end
-- Allowed when there is no memory left, and so then is what follows.
redis.call('DEL', KEYS[1])
if tonumber(ARGV[2]) > 0 then
  redis.call('HSET', KEYS[1], '${TOMBSTONE_FIELD}', '1')
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 'nothing'
`);

/**
 * Enters a member into an index, with this server's time as its score or, should that not be above all others, the
 * highest and one.
 *
 * KEYS[1] index
 * ARGV[1] member, ARGV[2] milliseconds for which the index has to last for it, ARGV[3] how many of the earliest members
 * to return
 *
 * Returns Unix milliseconds, the size, members and scores by turns, and in the same way two members from anywhere: the
 * last digits of the time are as good as chance, which scripts do not have.
 */
export const ENTER: Script = script(/* lua */ `${CLOCK}
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
local score = math.max(micros, last[2] and last[2] + 1 or 0)
redis.call('ZADD', KEYS[1], string.format('%.0f', score), ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
local count = tonumber(ARGV[3])
local size = redis.call('ZCARD', KEYS[1])
local members = count > 0 and redis.call('ZRANGE', KEYS[1], 0, count - 1, 'WITHSCORES') or {}
local from = score % size
return { here, size, members, redis.call('ZRANGE', KEYS[1], from, from + 1, 'WITHSCORES') }
`);

/**
 * Reads the members of an index above a score.
 *
 * KEYS[1] index
 * ARGV[1] score, ARGV[2] how many
 *
 * Returns as ENTER, but for the two.
 */
export const PAGE: Script = script(/* lua */ `${CLOCK}
local members = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
return { here, redis.call('ZCARD', KEYS[1]), members }
`);

/**
 * Takes members out of an index whose score is still the same: one that entered again has another.
 *
 * KEYS[1] index
 * ARGV[1..] members and scores by turns; '' for whatever the score is
 *
 * Returns how many.
 */
export const LEAVE: Script = script(/* lua */ `
local left = 0
for i = 1, #ARGV, 2 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if score and (ARGV[i + 1] == '' or tonumber(score) == tonumber(ARGV[i + 1])) then left = left + redis.call('ZREM', KEYS[1], ARGV[i]) end
end
return left
`);
