/**
 * The building blocks of the Lua scripts. Scripts share code as text, as Redis would create Lua functions again at
 * every call.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { RESERVED_FIELDS, reserved } from "../record.ts";

/** A Lua script and its SHA-1, under which servers cache it. */
export interface Script {
  readonly text: string;
  readonly sha1: string;
}

/** Creates a script from its text. */
export function script(text: string): Script {
  return { text, sha1: createHash("sha1").update(text).digest("hex") };
}

/** The names of the reserved fields as arguments of HMGET. Scripts read them first, into the Lua table `head`. */
export const HEAD: string = RESERVED_FIELDS.map((field) => `'${field}'`).join(", ");
/** Returns the Lua expression for the value of a reserved field in `head`. */
export const headField = (field: string): string => `head[${RESERVED_FIELDS.indexOf(field) + 1}]`;

/** Lua: reads the server's clock into `micros` (Unix microseconds) and `here` (Unix milliseconds). */
export const CLOCK: string = /* lua */ `
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local here = math.floor(micros / 1000)
`;

/** Returns a Lua condition: the text is not a time in Unix milliseconds. Fifteen digits suffice until year 33658. */
export const isNoTime = (text: string): string => `#${text} > 15 or not string.find(${text}, '^%d+$')`;

/** Lua: returns 'revoked' if the server's clock is past `last`, in Unix milliseconds; `''` means no limit. */
export const inTime = (last: string): string => /* lua */ `
if ${last} ~= '' then
  ${CLOCK}
  if here > tonumber(${last}) then return 'revoked' end
end
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
