/**
 * The Lua scripts of the Redis backend that create and end sessions. They follow the rules in session-scripts.ts.
 *
 * @module
 */
import { DEFAULT_IDLE_SECONDS, reserved, TOMBSTONE_FIELD } from "../record.ts";
import {
  ANSWER,
  CLOCK,
  compare,
  HEAD,
  headField,
  IS_SESSION,
  inTime,
  isNoTime,
  type Script,
  SECRET,
  STAMP,
  script,
} from "./lua.ts";

/**
 * Stores a session under a free key.
 *
 * KEYS[1] key of the session
 * ARGV[1] absolute timeout in milliseconds; '' for none
 * ARGV[2] latest time until which the session may live, in Unix milliseconds; '' for a session without index entries
 * ARGV[3] maximum lifetime of the key in milliseconds; '' for none
 * ARGV[4] latest time for this write, in Unix milliseconds of the server's clock; '' for no limit
 * ARGV[5] number of fields that receive the time in RFC 3339
 * ARGV[6..] names of these fields; then the other fields of the session: name, value, name, value, ...
 *
 * Returns:
 * - array: the values of the reserved fields, as in READ
 * - 'taken': the key is in use
 * - 'revoked': the key holds a tombstone, the latest time has passed, or no lifetime is left
 */
export const INSERT: Script = script(/* lua */ `
if redis.call('EXISTS', KEYS[1]) == 1 then
  -- pcall: a key of another type counts as taken.
  return redis.pcall('HEXISTS', KEYS[1], '${TOMBSTONE_FIELD}') == 1 and 'revoked' or 'taken'
end
${CLOCK}
${inTime("ARGV[4]")}
local set = { unpack(ARGV, 6 + ARGV[5]) }
local idle, deadline, absolute
for i = 1, #set, 2 do if set[i] == '${reserved.idleTimeout}' then idle = set[i + 1] end end
local function add(name, value)
  set[#set + 1] = name
  set[#set + 1] = value
end
if ARGV[1] ~= '' then deadline = here + ARGV[1] end
if ARGV[2] ~= '' then
  add('${reserved.absolute}', (deadline and string.format('%.0f', deadline) or '') .. '/0')
  deadline = math.min(deadline or tonumber(ARGV[2]), tonumber(ARGV[2]))
end
local life = (tonumber(idle) or 1800) * 1000
if ARGV[3] ~= '' then life = math.min(life, tonumber(ARGV[3])) end
if deadline then
  life = math.min(life, deadline - here)
  if life <= 0 then return 'revoked' end
  add('${reserved.deadline}', string.format('%.0f', deadline))
end
${STAMP}
add('${reserved.createdAt}', stamp)
add('${reserved.lastAccessedAt}', stamp)
for i = 6, 5 + ARGV[5] do add(ARGV[i], stamp) end
redis.call('HSET', KEYS[1], unpack(set))
redis.call('PEXPIRE', KEYS[1], life)
local head = redis.call('HMGET', KEYS[1], ${HEAD})
${ANSWER}
return answer
`);

/**
 * Returns a text that all processes share, and stores it if there is none. `SET` with both `NX` and `GET` needs Redis 7.
 *
 * KEYS[1] key of the text
 * ARGV[1] text to store if the key is free
 *
 * Returns the stored text.
 */
export const SHARE: Script = script(/* lua */ `
local text = redis.call('GET', KEYS[1])
if not text then
  text = ARGV[1]
  redis.call('SET', KEYS[1], text)
end
return text
`);

/**
 * Returns how long sessions still live. The only script with several keys; in a cluster it gets one.
 *
 * KEYS[1..] keys of sessions
 *
 * Returns an array: for each key the remaining lifetime in milliseconds, -1 if it does not hold a session.
 */
export const LEFT: Script = script(/* lua */ `
${CLOCK}
local all = {}
for i = 1, #KEYS do
  -- pcall: a key of another type does not hold a session.
  local head = redis.pcall('HMGET', KEYS[i], ${HEAD})
  local life, deadline = redis.call('PTTL', KEYS[i]), ${headField(reserved.deadline)}
  if life == -1 then life = ${DEFAULT_IDLE_SECONDS} * 1000 end
  if deadline and not (${isNoTime("deadline")}) then
    life = tonumber(deadline) > here and math.min(life, deadline - here) or -1
  end
  all[i] = ${IS_SESSION} and life or -1
end
return all
`);

/**
 * Deletes a session, even if its fields are unreadable. Keeps a tombstone.
 *
 * KEYS[1] key of the session
 * ARGV[1..4] as in READ
 * ARGV[5] number of fields that must have a given value
 * ARGV[6] number of fields that must be absent
 * ARGV[7..] the fields with a given value (name, value, ...) and absent (names); then the names of the fields to return; none
 *   returns the whole hash
 *
 * Returns:
 * - array: the deleted session, as in READ
 * - nil: the key did not hold a session that was still valid
 * - 'changed': a field did not have its expected value; nothing was deleted
 * - 'wrong-secret': the session has another secret; nothing was deleted
 * - 'reused at ' and the time of the rotation as stored, or 'reused': the secret was replaced by a rotation; nothing was
 *   deleted
 * - 'unproven': as READ; nothing was deleted
 */
export const REMOVE: Script = script(/* lua */ `
local absent = 7 + 2 * ARGV[5]
local wanted = absent + ARGV[6]
local head = redis.call('HMGET', KEYS[1], ${HEAD}, unpack(ARGV, wanted))
${SECRET}
local session = ${IS_SESSION}
if not session and redis.call('HEXISTS', KEYS[1], '${TOMBSTONE_FIELD}') == 1 then return false end
local deadline = ${headField(reserved.deadline)}
if not session or (deadline and not (${isNoTime("deadline")}) and tonumber(deadline) <= here) then
  redis.call('DEL', KEYS[1])
  return false
end
${compare("7", "absent", "wanted")}
if wanted > #ARGV then head = redis.call('HGETALL', KEYS[1]) end
redis.call('DEL', KEYS[1])
return head
`);

/**
 * Deletes a session if it belongs to an index entry. If the key is free, stores a tombstone that blocks a late insert.
 *
 * KEYS[1] key of the session
 * ARGV[1] index entry, as <name>:<value>
 * ARGV[2] lifetime of the tombstone in milliseconds; 0 stores none
 *
 * Returns:
 * - array: the values of the reserved fields of the deleted session
 * - 'other': the session does not belong to this entry and was kept
 * - 'nothing': there was no session
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
-- Redis permits DEL when it is out of memory, and then also the writes after it.
redis.call('DEL', KEYS[1])
if tonumber(ARGV[2]) > 0 then
  redis.call('HSET', KEYS[1], '${TOMBSTONE_FIELD}', '1')
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 'nothing'
`);
