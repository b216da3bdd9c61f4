/**
 * The Lua scripts of the Redis backend for sessions. Each is one atomic step on the one key in KEYS[1].
 *
 * All checks come before the first write, as Redis does not roll scripts back. When Redis is out of memory, it rejects
 * a script at its first write or not at all. `READ`, `REMOVE`, `REVOKE` and `LEAVE` therefore begin with PEXPIRE, DEL
 * or ZREM, which Redis always permits, so sessions can still be used and ended. The other scripts begin with HSET or
 * ZADD, so they are rejected before they change anything. The scripts run on Redis 6.2 or later and on Valkey.
 *
 * @module
 */
import { NO_SECRET, RESERVED_FIELDS, reserved, TOMBSTONE_FIELD } from "../record.ts";
import { CLOCK, checkSize, HEAD, headField, inTime, isNoTime, type Script, script } from "./lua.ts";

/** Lua: compares the presented token hash (ARGV[1], ARGV[3], ARGV[4] of READ) with `head`, as `matchSecret` does. */
const SECRET = /* lua */ `
local now, verifier, grace = tonumber(ARGV[1]), ARGV[3], ${headField(reserved.grace)}
if verifier ~= (${headField(reserved.verifier)} or '${NO_SECRET}') and verifier ~= '' then
  if verifier ~= ${headField(reserved.previous)} then return ${headField(reserved.verifier)} and 'wrong-secret' end
  if not grace or ${isNoTime("grace")} or tonumber(grace) <= now then
    local at = ${headField(reserved.rotatedAt)}
    return at and 'reused at ' .. at or 'reused'
  end
  if ARGV[4] ~= '1' then return false end
end
`;

/** Lua: checks an access as `checkAccess` does, except that LIFETIME checks whether the deadline has passed. */
const CHECK_ACCESS = /* lua */ `
if not (${headField(reserved.createdAt)} and ${headField(reserved.lastAccessedAt)} and ${headField(reserved.idleTimeout)}) then
  return false
end
${SECRET}
local deadline = ${headField(reserved.deadline)}
if deadline then
  if ${isNoTime("deadline")} then return 'invalid' end
  deadline = tonumber(deadline)
end
`;

/**
 * Lua: sets `life`, the milliseconds until the session expires after a touch, and corrects an unreadable idle timeout
 * `idle`. Checks the deadline by the server's clock too, so a slow application clock does not extend the session.
 */
const LIFETIME = /* lua */ `
if #idle > 10 or not string.find(idle, '^[1-9]%d*$') or tonumber(idle) > 2147483647 then
  local left = redis.call('PTTL', KEYS[1])
  idle = string.format('%.0f', left < 0 and 1800 or math.max(1, math.ceil(left / 1000)))
end
local life = tonumber(idle) * 1000
if deadline then
  ${CLOCK}
  life = math.min(life, deadline - math.max(now, here))
  -- A key without an expiration would never be removed. Only the server's clock decides this.
  if deadline <= here then redis.call('DEL', KEYS[1]) end
  if life <= 0 then return 'expired' end
end
`;

/**
 * Lua: returns `head`, as JSON if its values have at most 1024 bytes in total. A client parses one string much faster
 * than twenty, but for long values the encoding costs the server more than that saves.
 */
const ANSWER = /* lua */ `
local length = 0
for i = 1, #head do if head[i] then length = length + #head[i] end end
return length > 1024 and head or cjson.encode(head)
`;

/**
 * Stores a session under a free key.
 *
 * KEYS[1] key of the session
 * ARGV[1] time until it expires, in milliseconds
 * ARGV[2] latest time for this write, in Unix milliseconds of the server's clock; '' for no limit
 * ARGV[3..] fields of the session: name, value, name, value, ...
 *
 * Returns:
 * - 'inserted': the session was stored
 * - 'taken': the key is in use
 * - 'revoked': the key holds a tombstone, or the latest time has passed
 */
export const INSERT: Script = script(/* lua */ `
if redis.call('EXISTS', KEYS[1]) == 1 then
  -- pcall: a key of another type counts as taken.
  return redis.pcall('HEXISTS', KEYS[1], '${TOMBSTONE_FIELD}') == 1 and 'revoked' or 'taken'
end
${inTime("ARGV[2]")}
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'inserted'
`);

/**
 * Reads a session and restarts its idle timeout.
 *
 * KEYS[1] key of the session
 * ARGV[1] current time in Unix milliseconds, by the application's clock
 * ARGV[2] current time in RFC 3339
 * ARGV[3] token hash of the presented secret; 'none' for a session without one, '' for access by key alone
 * ARGV[4] '1' to accept the previous secret during its grace period, else '0'
 * ARGV[5..] names of the fields to return; none returns the whole hash
 *
 * Returns:
 * - array: the values of the reserved fields, then those of ARGV[5..]; nil for an absent field. Short values are
 *   returned as a JSON array, with false for nil
 * - array without ARGV[5..]: the whole hash as name, value, name, value, ...
 * - nil: the session does not exist
 * - 'wrong-secret': the session has another secret
 * - 'reused at ' and the time of the rotation as stored, or 'reused': the secret was replaced by a rotation
 * - 'expired': the deadline has passed
 * - 'invalid': the deadline is unreadable
 */
export const READ: Script = script(/* lua */ `
local head = redis.call('HMGET', KEYS[1], ${HEAD}, unpack(ARGV, 5))
${CHECK_ACCESS}
local idle = ${headField(reserved.idleTimeout)}
${LIFETIME}
redis.call('PEXPIRE', KEYS[1], life)
redis.call('HSET', KEYS[1], '${reserved.lastAccessedAt}', ARGV[2])
if idle ~= ${headField(reserved.idleTimeout)} then redis.call('HSET', KEYS[1], '${reserved.idleTimeout}', idle) end
if #ARGV < 5 then return redis.call('HGETALL', KEYS[1]) end
${headField(reserved.lastAccessedAt)} = ARGV[2]
${headField(reserved.idleTimeout)} = idle
${ANSWER}`);

/**
 * Changes the fields of a session if it has the expected values.
 *
 * KEYS[1] key of the session
 * ARGV[1..4] as in READ
 * ARGV[5] new idle timeout in seconds; '' keeps the present one
 * ARGV[6] latest time for this write, in Unix milliseconds of the server's clock; '' for no limit
 * ARGV[7] '1' to restart the idle timeout, else '0'
 * ARGV[8] number of fields to set
 * ARGV[9] number of fields to remove
 * ARGV[10] number of fields that must have a given value
 * ARGV[11] number of fields that must be absent
 * ARGV[12] maximum size of the user's fields after the change, in bytes; '' for no maximum
 * ARGV[13..] the fields to set (name, value, ...), to remove (names), with a given value (name, value, ...), and absent
 *   (names); then the names of the fields to return; none returns the whole hash
 *
 * Returns:
 * - array, nil, 'wrong-secret', 'reused', 'expired', 'invalid': as READ, with the values before the change
 * - 'changed': a field did not have its expected value; nothing was written
 * - 'revoked': the latest time has passed; nothing was written
 * - 'too_many_bytes': the session would be larger than ARGV[12]; nothing was written
 */
export const WRITE: Script = script(/* lua */ `
-- The positions in ARGV at which each list of fields begins.
local set = 13
local removed = set + 2 * ARGV[8]
local expected = removed + ARGV[9]
local absent = expected + 2 * ARGV[10]
local wanted = absent + ARGV[11]

local head = redis.call('HMGET', KEYS[1], ${HEAD}, unpack(ARGV, wanted))
${CHECK_ACCESS}
for i = expected, absent - 1, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) ~= ARGV[i + 1] then return 'changed' end
end
for i = absent, wanted - 1 do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then return 'changed' end
end
${inTime("ARGV[6]")}
${checkSize(
  "ARGV[12]",
  `for i = set, removed - 1, 2 do lengths[ARGV[i]] = #ARGV[i + 1] end
  for i = removed, expected - 1 do lengths[ARGV[i]] = nil end`,
)}
local idle = ARGV[5] ~= '' and ARGV[5] or ${headField(reserved.idleTimeout)}
${LIFETIME}

local whole = wanted > #ARGV and redis.call('HGETALL', KEYS[1])
if removed > set then redis.call('HSET', KEYS[1], unpack(ARGV, set, removed - 1)) end
if expected > removed then redis.call('HDEL', KEYS[1], unpack(ARGV, removed, expected - 1)) end
if ARGV[7] == '1' then
  redis.call('PEXPIRE', KEYS[1], life)
  redis.call('HSET', KEYS[1], '${reserved.lastAccessedAt}', ARGV[2], '${reserved.idleTimeout}', idle)
elseif redis.call('PTTL', KEYS[1]) < 0 then
  redis.call('PEXPIRE', KEYS[1], life)
end
if whole then return whole end
${ANSWER}`);

/**
 * Adds a number to a field and restarts the idle timeout. All numbers are safe integers in decimal digits.
 *
 * KEYS[1] key of the session
 * ARGV[1..4] as in READ
 * ARGV[5] name of the field
 * ARGV[6] number to add
 * ARGV[7] value of the field if it is absent
 * ARGV[8] smallest sum allowed
 * ARGV[9] largest sum allowed
 * ARGV[10] maximum size of the user's fields, in bytes, if the text becomes longer; '' for no maximum
 *
 * Returns:
 * - digits: the sum, as text because clients may round large integer replies
 * - 'too_small', 'too_big': the sum is out of range; nothing was written
 * - 'too_many_bytes': the session would be larger than ARGV[10]; nothing was written
 * - 'invalid_type': the field does not hold a safe integer; nothing was written
 * - nil, 'wrong-secret', 'reused', 'expired', 'invalid': as READ
 */
export const INCREMENT: Script = script(/* lua */ `
local head = redis.call('HMGET', KEYS[1], ${HEAD}, ARGV[5])
${CHECK_ACCESS}
local text = head[${RESERVED_FIELDS.length + 1}] or ARGV[7]
local digits = string.match(text, '^-?(%d+)$')
if not digits or #digits > 16 then return 'invalid_type' end
local held = tonumber(text)
if math.abs(held) > 9007199254740991 then return 'invalid_type' end
local sum = held + tonumber(ARGV[6])
if sum < tonumber(ARGV[8]) then return 'too_small' end
if sum > tonumber(ARGV[9]) then return 'too_big' end
local total = string.format('%.0f', sum)
if #total > #(head[${RESERVED_FIELDS.length + 1}] or '') then
  ${checkSize("ARGV[10]", "lengths[ARGV[5]] = #total")}
end
local idle = ${headField(reserved.idleTimeout)}
${LIFETIME}
redis.call('HSET', KEYS[1], ARGV[5], total, '${reserved.lastAccessedAt}', ARGV[2], '${reserved.idleTimeout}', idle)
redis.call('PEXPIRE', KEYS[1], life)
return total
`);

/**
 * Deletes a session, even if its fields are unreadable. Keeps a tombstone.
 *
 * KEYS[1] key of the session
 * ARGV[1..4] as in READ
 *
 * Returns:
 * - array: the values of the reserved fields of the deleted session
 * - nil: the key did not hold a session that was still valid
 * - 'wrong-secret': the session has another secret; nothing was deleted
 * - 'reused at ' and the time of the rotation as stored, or 'reused': the secret was replaced by a rotation; nothing was
 *   deleted
 */
export const REMOVE: Script = script(/* lua */ `
local head = redis.call('HMGET', KEYS[1], ${HEAD})
${SECRET}
local session = ${headField(reserved.createdAt)} and ${headField(reserved.lastAccessedAt)} and ${headField(reserved.idleTimeout)}
if not session and redis.call('HEXISTS', KEYS[1], '${TOMBSTONE_FIELD}') == 1 then return false end
local deadline = ${headField(reserved.deadline)}
redis.call('DEL', KEYS[1])
if not session or (deadline and not (${isNoTime("deadline")}) and tonumber(deadline) <= now) then return false end
return head
`);
