/**
 * The Lua scripts of the Redis backend for indexes. They follow the rules in session-scripts.ts. An index is a sorted
 * set: a member is a session ID, and its score is the time at which it was added, in microseconds of the server's
 * clock.
 *
 * @module
 */
import { MIN_PRUNE_AGE } from "../backend.ts";
import { CLOCK, type Script, script } from "./lua.ts";

/**
 * Adds a member to an index. Its score is the server's time, or one more than the highest score if that is not lower.
 *
 * KEYS[1] key of the index
 * ARGV[1] member
 * ARGV[2] how long the index must exist from now, in milliseconds; an existing expiration is only moved later
 * ARGV[3] number of members with the lowest scores to return; may be 0
 *
 * Returns an array:
 * - [1] the server's time in Unix milliseconds
 * - [2] the number of members
 * - [3] the members with the lowest scores: member, score, member, score, ...
 * - [4] up to two members from a varying position, in the same form. The position is derived from the score, as Lua's
 *   random numbers in Redis repeat with every call.
 * - [5] the member's score
 * - [6] 1 if the member was not in the index before, else 0
 */
export const ENTER: Script = script(/* lua */ `${CLOCK}
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
local score = math.max(micros, last[2] and last[2] + 1 or 0)
local added = redis.call('ZADD', KEYS[1], string.format('%.0f', score), ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
local count = tonumber(ARGV[3])
local size = redis.call('ZCARD', KEYS[1])
local members = count > 0 and redis.call('ZRANGE', KEYS[1], 0, count - 1, 'WITHSCORES') or {}
local from = score % size
return { here, size, members, redis.call('ZRANGE', KEYS[1], from, from + 1, 'WITHSCORES'), score, added }
`);

/**
 * Lets an index live longer for a member. A member keeps its score. A missing one gets a score above all others, so that
 * whoever goes through the index meets it; and as of a minute ago if that is enough, because it is no session that may still
 * be written.
 *
 * KEYS[1] key of the index
 * ARGV[1] member
 * ARGV[2] as in ENTER
 *
 * Returns an array:
 * - [1] the server's time in Unix milliseconds
 * - [2] up to two members from a varying position: member, score, member, score, ...
 * - [3] 1 if the member was not in the index before, else 0
 */
export const EXTEND: Script = script(/* lua */ `${CLOCK}
-- Redis permits this when it is out of memory, and then also the write after it.
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
local added = 0
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
  local score = math.max(micros - ${MIN_PRUNE_AGE * 1000}, last[2] and last[2] + 1 or 0)
  added = redis.call('ZADD', KEYS[1], string.format('%.0f', score), ARGV[1])
  if not last[2] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
end
local from = micros % redis.call('ZCARD', KEYS[1])
return { here, redis.call('ZRANGE', KEYS[1], from, from + 1, 'WITHSCORES'), added }
`);

/**
 * Reads the members of an index with a score above a given one, lowest score first.
 *
 * KEYS[1] key of the index
 * ARGV[1] score in microseconds, exclusive
 * ARGV[2] maximum number of members to return
 *
 * Returns an array:
 * - [1] the server's time in Unix milliseconds
 * - [2] the number of members in the whole index
 * - [3] the members found: member, score, member, score, ...
 */
export const PAGE: Script = script(/* lua */ `${CLOCK}
local members = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
return { here, redis.call('ZCARD', KEYS[1]), members }
`);

/**
 * Removes members from an index if their score is unchanged. A member that was added again has a new score and stays.
 *
 * KEYS[1] key of the index
 * ARGV[1..] member, score, member, score, ...; the score in microseconds, or '' to remove the member with any score
 *
 * Returns the number of members removed.
 */
export const LEAVE: Script = script(/* lua */ `
local left = 0
for i = 1, #ARGV, 2 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if score and (ARGV[i + 1] == '' or tonumber(score) == tonumber(ARGV[i + 1])) then left = left + redis.call('ZREM', KEYS[1], ARGV[i]) end
end
return left
`);

/**
 * Reads what the server tells about its memory. A script, because a cluster client has no command without a key.
 *
 * KEYS[1] any key
 *
 * Returns the text of INFO.
 */
export const MEMORY: Script = script(/* lua */ `
return redis.call('INFO', 'memory')
`);
