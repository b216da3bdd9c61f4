/**
 * The building blocks of the Lua scripts. Scripts share code as text, as Redis would create Lua functions again at
 * every call.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { ACCESS_FIELDS, NO_SECRET, RESERVED_FIELDS, reserved } from "../record.ts";

/** A Lua script and its SHA-1, under which servers cache it. */
export interface Script {
  readonly text: string;
  readonly sha1: string;
}

/** Creates a script from its text. */
export function script(text: string): Script {
  return { text, sha1: createHash("sha1").update(text).digest("hex") };
}

const asArguments = (fields: readonly string[]): string => fields.map((field) => `'${field}'`).join(", ");

/** The names of the reserved fields as arguments of HMGET. Scripts read them first, into the Lua table `head`. */
export const HEAD: string = asArguments(RESERVED_FIELDS);
/** As HEAD, for scripts that only check an access. Every further field would cost as much as all other work of a check. */
export const ACCESS_HEAD: string = asArguments(ACCESS_FIELDS);
/** Returns the Lua expression for the value of a reserved field in `head`. */
export const headField = (field: string): string => `head[${RESERVED_FIELDS.indexOf(field) + 1}]`;

/** A Lua condition: `head` has the fields that every session has, as in `isSession`. */
export const IS_SESSION: string = [reserved.createdAt, reserved.lastAccessedAt, reserved.idleTimeout]
  .map(headField)
  .join(" and ");

/** Lua: reads the server's clock into `micros` (Unix microseconds) and `here` (Unix milliseconds). */
export const CLOCK: string = /* lua */ `
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local here = math.floor(micros / 1000)
`;

/**
 * Lua: sets `stamp` to the time `here` in RFC 3339, as Redis offers no calendar to scripts. Years are counted from 1 March
 * 2000, so that a leap day is the last day of a year, of four years and of four centuries.
 */
export const STAMP: string = /* lua */ `
local day = math.floor(here / 86400000) - 11017
local era = math.floor(day / 146097)
day = day - era * 146097
local century = math.min(math.floor(day / 36524), 3)
day = day - century * 36524
local leap = math.floor(day / 1461)
day = day - leap * 1461
local single = math.min(math.floor(day / 365), 3)
day = day - single * 365
local year = 2000 + era * 400 + century * 100 + leap * 4 + single
local month = math.floor((5 * day + 2) / 153)
day = day - math.floor((153 * month + 2) / 5) + 1
if month > 9 then year, month = year + 1, month - 12 end
local clock = here % 86400000
local stamp = string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month + 3, day, math.floor(clock / 3600000),
  math.floor(clock / 60000) % 60, math.floor(clock / 1000) % 60, clock % 1000)
`;

/** Returns a Lua condition: the text is not a time in Unix milliseconds. Fifteen digits suffice until year 33658. */
export const isNoTime = (text: string): string => `#${text} > 15 or not string.find(${text}, '^%d+$')`;

/** Lua: compares the presented token hash and proof (ARGV[1..4] of READ) with `head`, as `checkSecret` does. */
export const SECRET: string = /* lua */ `
${CLOCK}
local verifier, bound = ARGV[1], ${headField(reserved.bound)}
if verifier ~= (${headField(reserved.verifier)} or '${NO_SECRET}') and verifier ~= '' then
  local before = redis.call('HMGET', KEYS[1], '${reserved.previous}', '${reserved.grace}', '${reserved.rotatedAt}')
  local grace, at = before[2], before[3]
  if verifier ~= before[1] then return ${headField(reserved.verifier)} and 'wrong-secret' end
  if not grace or ${isNoTime("grace")} or tonumber(grace) <= here then
    return at and 'reused at ' .. at or 'reused'
  end
  if ARGV[2] ~= '1' then return false end
end
if bound and string.sub(bound, 1, 1) == '!' and ARGV[4] ~= '1' and verifier ~= '' then
  local proven = false
  for value in string.gmatch(string.sub(bound, 2), '[^ ]+') do
    local hash, ending = string.match(value, '^([^.]+)%.(%d+)$')
    if hash == ARGV[3] and #ending <= 15 and tonumber(ending) > here then proven = true end
  end
  if not proven then return 'unproven' end
end
`;

/** Lua: checks an access as `checkAccess` does, except that LIFETIME checks whether the deadline has passed. */
export const CHECK_ACCESS: string = /* lua */ `
if not (${IS_SESSION}) then return false end
${SECRET}
local deadline = ${headField(reserved.deadline)}
if deadline then
  if ${isNoTime("deadline")} then return 'invalid' end
  deadline = tonumber(deadline)
end
`;

/**
 * Lua: sets `life`, the milliseconds until the session expires after a touch, and corrects an unreadable idle timeout
 * `idle`. Deletes a session whose deadline has passed, which a key without an expiration could outlive.
 */
export const LIFETIME: string = /* lua */ `
if #idle > 10 or not string.find(idle, '^[1-9]%d*$') or tonumber(idle) > 2147483647 then
  local left = redis.call('PTTL', KEYS[1])
  idle = string.format('%.0f', left < 0 and 1800 or math.max(1, math.ceil(left / 1000)))
end
local life = tonumber(idle) * 1000
if deadline then
  life = math.min(life, deadline - here)
  if life <= 0 then
    redis.call('DEL', KEYS[1])
    return false
  end
end
`;

/**
 * Lua: sets `answer` to `head`, as JSON if its values have at most 1024 bytes in total. A client parses one string much
 * faster than twenty, but for long values the encoding costs the server more than that saves.
 */
export const ANSWER: string = /* lua */ `
local length = 0
for i = 1, #head do if head[i] then length = length + #head[i] end end
local answer = length > 1024 and head or cjson.encode(head)
`;

/**
 * Lua: returns 'changed' if a field does not have its expected value.
 *
 * @param expected The position in ARGV of the names and values that are expected: name, value, name, value, ...
 * @param absent The position of the names that must be absent, which is where the expected ones end.
 * @param end The position at which they end.
 */
export const compare = (expected: string, absent: string, end: string): string => /* lua */ `
for i = ${expected}, ${absent} - 1, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) ~= ARGV[i + 1] then return 'changed' end
end
for i = ${absent}, ${end} - 1 do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then return 'changed' end
end
`;

/** Lua: returns 'revoked' if `here` is past `last`, in Unix milliseconds; `''` means no limit. */
export const inTime = (last: string): string => /* lua */ `
if ${last} ~= '' and here > tonumber(${last}) then return 'revoked' end
`;

/**
 * Lua: returns 'too_many_bytes' if the names and texts of the user's fields would have more bytes than `maximum`; `''`
 * means no maximum.
 *
 * @param change Applies the change to the table `lengths`: the length of each field's text, by name.
 */
export const checkSize = (maximum: string, change: string): string => /* lua */ `
if ${maximum} ~= '' then
  local held, lengths, bytes = redis.call('HGETALL', KEYS[1]), {}, 0
  for i = 1, #held, 2 do lengths[held[i]] = #held[i + 1] end
  ${change}
  for name, length in pairs(lengths) do
    if name ~= '${reserved.createdAt}' and name ~= '${reserved.lastAccessedAt}' and string.sub(name, 1, 8) ~= 'session_' then
      bytes = bytes + #name + length
    end
  end
  if bytes > tonumber(${maximum}) then return 'too_many_bytes' end
end
`;
