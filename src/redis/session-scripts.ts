/**
 * The atomic steps of the Redis backend, one Lua script each: one key, no key built inside, nothing scanned.
 *
 * Every check stands before the first write, as Redis does not roll scripts back. Only the first write of a script is
 * refused when Redis is out of memory: `READ`, `REMOVE`, `REVOKE` and `LEAVE` begin with PEXPIRE, DEL and ZREM, which
 * never are, so that sessions can be used and ended; the others begin with HSET or ZADD and are refused whole. Run on
 * Redis 7.0 and written for Redis >= 6.2 and Valkey.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { RESERVED_FIELDS, reserved, TOMBSTONE_FIELD } from "../record.ts";

/** A Lua script and the name under which servers keep it. */
export interface Script {
  readonly text: string;
  readonly sha1: string;
}

export function script(text: string): Script {
  return { text, sha1: createHash("sha1").update(text).digest("hex") };
}

/** HMGET of the reserved fields comes first in every reply, so that a script finds them by place. */
export const HEAD: string = RESERVED_FIELDS.map((field) => `'${field}'`).join(", ");
export const headField = (field: string): string => `head[${RESERVED_FIELDS.indexOf(field) + 1}]`;

/*
 * What scripts share is text and no functions, which Lua would make anew at every call.
 */

/** This server's clock: `micros`, and Unix milliseconds as `here`. */
export const CLOCK: string = /* lua */ `
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local here = math.floor(micros / 1000)
`;

/** Lua: is this text no count of milliseconds? Fifteen digits reach the year 33658. */
const isNoTime = (text: string): string => `#${text} > 15 or not string.find(${text}, '^%d+$')`;

/** ARGV[1], ARGV[3] and ARGV[4] of an access, against the `head`; as `matchSecret` of record.ts. */
const SECRET = /* lua */ `
local now, verifier, grace = tonumber(ARGV[1]), ARGV[3], ${headField(reserved.grace)}
if verifier ~= ${headField(reserved.verifier)} and verifier ~= '' then
  if verifier ~= ${headField(reserved.previous)} then return false end
  if not grace or ${isNoTime("grace")} or tonumber(grace) <= now then
    local at = ${headField(reserved.rotatedAt)}
    return at and 'reused at ' .. at or 'reused'
  end
  if ARGV[4] ~= '1' then return false end
end
`;

/** Who may pass, as `checkAccess` of record.ts has it but for the deadline's passing. */
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
 * The time `life` that a session has left after a touch, in milliseconds, and its timeout `idle` as text. The deadline is
 * held against this server's clock as well, so that a slow clock elsewhere does not put it off.
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
  -- Without an expiry nothing else would remove it. A clock elsewhere must not have a say in that.
  if deadline <= here then redis.call('DEL', KEYS[1]) end
  if life <= 0 then return 'expired' end
end
`;

/** Not after the last moment that it may happen, by this server's clock; `''` is none. */
const inTime = (last: string): string => /* lua */ `
if ${last} ~= '' then
  ${CLOCK}
  if here > tonumber(${last}) then return 'revoked' end
end
`;

/**
 * Returns the `head`, as JSON if its texts have 1024 bytes at most: a client reads one text in much less time than
 * twenty. To make JSON of long ones takes the server more than that.
 */
const ANSWER = /* lua */ `
local length = 0
for i = 1, #head do if head[i] then length = length + #head[i] end end
return length > 1024 and head or cjson.encode(head)
`;

/**
 * Stores a record under a free key.
 *
 * KEYS[1] session
 * ARGV[1] milliseconds it has, ARGV[2] '' or the last moment in Unix milliseconds, ARGV[3..] its fields, name and text
 * by turns
 *
 * Returns 'inserted', 'taken', or 'revoked' if there is a tombstone or it is too late.
 */
export const INSERT: Script = script(/* lua */ `
if redis.call('EXISTS', KEYS[1]) == 1 then
  -- What is no hash is taken as well.
  return redis.pcall('HEXISTS', KEYS[1], '${TOMBSTONE_FIELD}') == 1 and 'revoked' or 'taken'
end
${inTime("ARGV[2]")}
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 'inserted'
`);

/**
 * Reads and touches.
 *
 * KEYS[1] session
 * ARGV[1] now in Unix milliseconds, ARGV[2] the same in RFC 3339, ARGV[3] verifier or '', ARGV[4] '1' if the previous
 * secret does in its grace, ARGV[5..] wanted fields, none for the whole hash
 *
 * Returns the texts of the reserved fields and of those wanted, in order, as JSON with false for nil if they are short;
 * or the whole hash, name and text by turns; or 'reused at ' and when the rotation was, 'reused' if that is not stored,
 * 'expired', 'invalid', or nil if there is no such session.
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
 * Changes a session.
 *
 * KEYS[1] session
 * ARGV[1..4] as in READ, ARGV[5] a new idle timeout in seconds or '', ARGV[6] '' or the last moment in Unix
 * milliseconds, ARGV[7] '1' to touch, ARGV[8..11] how many fields are set, removed, expected to have a text and expected
 * to be absent; then these: names and texts by turns, names, names and texts by turns, names; then the wanted fields
 *
 * Returns as READ, but as the session stood before the change; or 'changed' if it was not as expected, 'revoked' if it
 * is too late.
 */
export const WRITE: Script = script(/* lua */ `
-- Where the fields begin that are set, removed, expected, expected to be absent, and wanted.
local set = 12
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
 * Adds to a field, and touches the session.
 *
 * KEYS[1] session
 * ARGV[1..4] as in READ, ARGV[5] field, ARGV[6] summand, ARGV[7] what an absent field counts as, ARGV[8] and ARGV[9]
 * the least and the greatest sum allowed: safe integers in decimal digits
 *
 * Returns the sum in decimal digits, as clients may round the integers of the protocol; or 'too_small', 'too_big',
 * 'invalid_type' if the field holds no safe integer; or the answers of READ in the place of a session.
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
local idle = ${headField(reserved.idleTimeout)}
${LIFETIME}
local total = string.format('%.0f', sum)
redis.call('HSET', KEYS[1], ARGV[5], total, '${reserved.lastAccessedAt}', ARGV[2], '${reserved.idleTimeout}', idle)
redis.call('PEXPIRE', KEYS[1], life)
return total
`);

/**
 * Deletes what the access reaches, readable or not. A tombstone stays.
 *
 * KEYS[1] session
 * ARGV[1..4] as in READ
 *
 * Returns the reserved fields if it was a session that had not ended, else nil, or 'reused' as READ.
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
