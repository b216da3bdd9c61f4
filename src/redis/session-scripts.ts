/**
 * The Lua scripts of the Redis backend that read and change sessions. Each is one atomic step on the one key in KEYS[1].
 *
 * All checks come before the first write, as Redis does not roll scripts back. When Redis is out of memory, it rejects
 * a script at its first write or not at all. `TOUCH`, `REMOVE`, `REVOKE`, `EXTEND` and `LEAVE` therefore begin with PEXPIRE,
 * DEL or ZREM, which Redis always permits, so sessions can still be used and ended, and so does a `WRITE` without the user's
 * fields. Otherwise scripts begin with HSET or ZADD, so they are rejected before they change anything.
 *
 * Every time is that of the server's clock, because the clock of an application may be wrong. The scripts run on Redis 6.2 or
 * later and on Valkey.
 *
 * @module
 */
import type { Access } from "../base/access.ts";
import { RESERVED_FIELDS, reserved } from "../record.ts";
import {
  ACCESS_HEAD,
  ANSWER,
  CHECK_ACCESS,
  checkSize,
  compare,
  HEAD,
  headField,
  inTime,
  isNoTime,
  LIFETIME,
  type Script,
  STAMP,
  script,
} from "./lua.ts";

/**
 * Reads a session where a plain HMGET does not tell whether the caller may access it.
 *
 * KEYS[1] key of the session
 * ARGV[1] token hash of the presented secret; 'none' for a session without one, '' for access by key alone
 * ARGV[2] '1' to accept the previous secret during its grace period, else '0'
 * ARGV[3] hash of the device's proof, '' for none
 * ARGV[4] '1' to access a session that is bound to a device without its proof, else '0'
 * ARGV[5..] names of the fields to return; none returns the whole hash
 *
 * Returns:
 * - array: the values of the reserved fields, then those of ARGV[5..]; nil for an absent field. Short values are
 *   returned as a JSON array, with false for nil
 * - array without ARGV[5..]: the whole hash as name, value, name, value, ...
 * - nil: the session does not exist
 * - 'wrong-secret': the session has another secret
 * - 'reused at ' and the time of the rotation as stored, or 'reused': the secret was replaced by a rotation
 * - 'unproven': the session is bound to a device, and ARGV[3] is not a valid proof
 * - 'invalid': the deadline is unreadable
 */
export const READ: Script = script(/* lua */ `
local head = redis.call('HMGET', KEYS[1], ${HEAD}, unpack(ARGV, 5))
${CHECK_ACCESS}
if deadline and deadline <= here then
  -- Its key may have lost its expiration. pcall: the server may accept no writes.
  redis.pcall('DEL', KEYS[1])
  return false
end
if #ARGV < 5 then return redis.call('HGETALL', KEYS[1]) end
${ANSWER}
return answer
`);

/**
 * Restarts the idle timeout of a session.
 *
 * KEYS[1] key of the session
 * ARGV[1..4] as in READ
 *
 * Returns:
 * - array: `last_accessed_at`, `session_ttl` and `session_deadline` after the touch; nil for no deadline
 * - nil, 'wrong-secret', 'reused', 'unproven', 'invalid': as READ
 */
export const TOUCH: Script = script(/* lua */ `
local head = redis.call('HMGET', KEYS[1], ${ACCESS_HEAD})
${CHECK_ACCESS}
local idle = ${headField(reserved.idleTimeout)}
${LIFETIME}
${STAMP}
redis.call('PEXPIRE', KEYS[1], life)
redis.call('HSET', KEYS[1], '${reserved.lastAccessedAt}', stamp)
if idle ~= ${headField(reserved.idleTimeout)} then redis.call('HSET', KEYS[1], '${reserved.idleTimeout}', idle) end
return { stamp, idle, ${headField(reserved.deadline)} }
`);

/**
 * Changes the fields of a session if it has the expected values.
 *
 * KEYS[1] key of the session
 * ARGV[1..4] as in READ
 * ARGV[5] '1' to restart the idle timeout, else '0'
 * ARGV[6] latest time for this write, in Unix milliseconds of the server's clock; '' for no limit
 * ARGV[7] grace period of the previous secret, in milliseconds; '' for none
 * ARGV[8] maximum size of the user's fields after the change, in bytes; '' for no maximum
 * ARGV[9] '1' if none of the user's fields is set, else '0'
 * ARGV[10] number of fields to set
 * ARGV[11] number of fields to remove
 * ARGV[12] number of fields that must have a given value
 * ARGV[13] number of fields that must be absent
 * ARGV[14] number of fields that receive the time in RFC 3339
 * ARGV[15..] the fields to set (name, value, ...), to remove (names), with a given value (name, value, ...), absent (names),
 *   and for the time (names); then the names of the fields to return; none returns the whole hash
 *
 * Returns:
 * - array of three: the time in RFC 3339; the idle timeout after the change, in seconds; and the session before the change,
 *   as an array as in READ
 * - nil, 'wrong-secret', 'reused', 'unproven', 'invalid': as READ. nil also if the change left the session no lifetime
 * - 'changed': a field did not have its expected value; nothing was written
 * - 'revoked': the latest time has passed; nothing was written
 * - 'too_many_bytes': the session would be larger than ARGV[8]; nothing was written
 */
export const WRITE: Script = script(/* lua */ `
-- The positions in ARGV at which each list of fields begins.
local set = 15
local removed = set + 2 * ARGV[10]
local expected = removed + ARGV[11]
local absent = expected + 2 * ARGV[12]
local stamped = absent + ARGV[13]
local wanted = stamped + ARGV[14]

local head = redis.call('HMGET', KEYS[1], ${HEAD}, unpack(ARGV, wanted))
${CHECK_ACCESS}
${compare("expected", "absent", "stamped")}
${inTime("ARGV[6]")}
${checkSize(
  "ARGV[8]",
  `for i = set, removed - 1, 2 do lengths[ARGV[i]] = #ARGV[i + 1] end
  for i = removed, expected - 1 do lengths[ARGV[i]] = nil end`,
)}
local idle = ${headField(reserved.idleTimeout)}
for i = set, removed - 1, 2 do
  if ARGV[i] == '${reserved.idleTimeout}' then idle = ARGV[i + 1] end
  if ARGV[i] == '${reserved.deadline}' then deadline = not (${isNoTime("ARGV[i + 1]")}) and tonumber(ARGV[i + 1]) end
end
for i = removed, expected - 1 do
  if ARGV[i] == '${reserved.deadline}' then deadline = nil end
end
${LIFETIME}
${STAMP}

local whole = wanted > #ARGV and redis.call('HGETALL', KEYS[1])
local written = { unpack(ARGV, set, removed - 1) }
for i = stamped, wanted - 1 do
  written[#written + 1] = ARGV[i]
  written[#written + 1] = stamp
end
if ARGV[7] ~= '' then
  written[#written + 1] = '${reserved.grace}'
  written[#written + 1] = string.format('%.0f', here + ARGV[7])
end
if ARGV[5] == '1' then
  written[#written + 1] = '${reserved.lastAccessedAt}'
  written[#written + 1] = stamp
  written[#written + 1] = '${reserved.idleTimeout}'
  written[#written + 1] = idle
else
  local left = redis.call('PTTL', KEYS[1])
  if left >= 0 then life = math.min(life, left) end
end
if ARGV[9] == '1' then redis.call('PEXPIRE', KEYS[1], life) end
if #written > 0 then redis.call('HSET', KEYS[1], unpack(written)) end
if expected > removed then redis.call('HDEL', KEYS[1], unpack(ARGV, removed, expected - 1)) end
if ARGV[9] ~= '1' then redis.call('PEXPIRE', KEYS[1], life) end
if whole then return { stamp, idle, whole } end
${ANSWER}
return { stamp, idle, answer }
`);

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
 * - array: the values of the reserved fields and of the field after the addition, as in READ
 * - 'too_small', 'too_big': the sum is out of range; nothing was written
 * - 'too_many_bytes': the session would be larger than ARGV[10]; nothing was written
 * - 'invalid_type': the field does not hold a safe integer; nothing was written
 * - nil, 'wrong-secret', 'reused', 'unproven', 'invalid': as READ
 */
export const INCREMENT: Script = script(/* lua */ `
local head = redis.call('HMGET', KEYS[1], ${HEAD}, ARGV[5])
local at = ${RESERVED_FIELDS.length + 1}
${CHECK_ACCESS}
local text = head[at] or ARGV[7]
local digits = string.match(text, '^-?(%d+)$')
if not digits or #digits > 16 then return 'invalid_type' end
local held = tonumber(text)
if math.abs(held) > 9007199254740991 then return 'invalid_type' end
local sum = held + tonumber(ARGV[6])
if sum < tonumber(ARGV[8]) then return 'too_small' end
if sum > tonumber(ARGV[9]) then return 'too_big' end
local total = string.format('%.0f', sum)
if #total > #(head[at] or '') then
  ${checkSize("ARGV[10]", "lengths[ARGV[5]] = #total")}
end
local idle = ${headField(reserved.idleTimeout)}
${LIFETIME}
${STAMP}
redis.call('HSET', KEYS[1], ARGV[5], total, '${reserved.lastAccessedAt}', stamp, '${reserved.idleTimeout}', idle)
redis.call('PEXPIRE', KEYS[1], life)
head[at] = total
${headField(reserved.lastAccessedAt)} = stamp
${headField(reserved.idleTimeout)} = idle
${ANSWER}
return answer
`);

/** Returns ARGV[1..4] of the scripts that check an access. */
export function accessArgs({ verifier, previous, proof, unproven = false }: Access): string[] {
  return [verifier ?? "", previous ? "1" : "0", proof ?? "", unproven ? "1" : "0"];
}
