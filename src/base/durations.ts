/**
 * Durations in options and arguments. `action` completes "Cannot <action> as ..." in the messages of errors.
 *
 * @module
 */
import { kindOf } from "./checks.ts";
import { warnOnce } from "./warnings.ts";

/**
 * A duration: a number of seconds, or text with a unit: `"500ms"`, `"90s"`, `"30m"`, `"12h"`, `"30d"`.
 *
 * The text has digits and at most one point, no sign and no space. Anything else is a `RangeError`. A number above 86,400
 * writes a warning to the console, once per option, because milliseconds were probably meant.
 */
export type Duration = number | `${number}${"ms" | "s" | "m" | "h" | "d"}`;

const DURATION = /^(\d+(?:\.\d+)?|\.\d+)(ms|s|m|h|d)$/;
/** In milliseconds, from the longest to the shortest. */
const UNITS = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const;
/** The largest 32-bit integer, 68 years: other programs that share sessions may not support more. */
const MAX_SECONDS = 2_147_483_647;
const MAX_MS = MAX_SECONDS * 1000;
const SECONDS_OF_DAY = 86_400;
/** Text that may be quoted in a message: a number and a word. A token, an ID or session data is not. */
const QUOTABLE = /^[-+]?[\d.,_]{1,10} ?[A-Za-z]{0,8}$/;

/**
 * Returns a duration in milliseconds.
 *
 * @param min In milliseconds.
 * @param max In milliseconds; default 68 years.
 * @throws {TypeError} If the value is neither a number nor text.
 * @throws {RangeError} If the text is malformed, or if the duration is not whole milliseconds or out of bounds.
 */
export function milliseconds(action: string, name: string, value: unknown, min: number, max: number = MAX_MS): number {
  return whole("ms", action, name, value, min, max);
}

/**
 * Returns a positive duration in seconds.
 *
 * @param max In seconds; default 68 years.
 * @throws {TypeError} If the value is neither a number nor text.
 * @throws {RangeError} If the text is malformed, or if the duration is not whole seconds, 0, or more than the maximum.
 */
export function seconds(action: string, name: string, value: unknown, max: number = MAX_SECONDS): number {
  return whole("s", action, name, value, UNITS.s, max * UNITS.s) / UNITS.s;
}

function whole(unit: "ms" | "s", action: string, name: string, value: unknown, min: number, max: number): number {
  const exact = parse(value);
  if (exact === null) {
    const kind = typeof value === "string" || typeof value === "number" ? RangeError : TypeError;
    const isQuoted = typeof value === "string" && QUOTABLE.test(value);
    const received = typeof value === "number" ? value : isQuoted ? JSON.stringify(value) : kindOf(value);
    throw new kind(
      `Cannot ${action} as ${name} must be a number of seconds or a duration such as "30m": received ${received}`,
    );
  }
  const received = typeof value === "string" ? `"${value}"` : value;
  // Fractions such as 1.1 seconds are not exact in binary.
  const rounded = Math.round(exact);
  if (rounded % UNITS[unit] !== 0 || Math.abs(rounded - exact) > 0.001) {
    const words = unit === "s" ? "seconds" : "milliseconds";
    throw new RangeError(`Cannot ${action} as ${name} must be a whole number of ${words}: received ${received}`);
  }
  if (rounded < min || rounded > max) {
    const range = `from "${textOf(min)}" to "${textOf(max)}"`;
    throw new RangeError(`Cannot ${action} as ${name} must be ${range}: received ${received}`);
  }
  if (typeof value === "number" && value > SECONDS_OF_DAY) {
    const days = (value / SECONDS_OF_DAY).toFixed(1);
    warnOnce(
      `duration ${name}`,
      `${name} is ${value}, and a number is in seconds: ${days} days. Write "${textOf(rounded)}", or "${textOf(Math.round(value))}" if you meant milliseconds`,
    );
  }
  return rounded;
}

/** Returns milliseconds, which may have a fraction; `null` for anything but a number or well-formed text. */
function parse(value: unknown): number | null {
  if (typeof value === "number") return Number.isFinite(value) ? value * UNITS.s : null;
  const parts = typeof value === "string" ? DURATION.exec(value) : null;
  if (parts === null) return null;
  const [, digits, unit] = parts;
  return Number(digits) * UNITS[unit as keyof typeof UNITS];
}

/** Returns the shortest text for milliseconds, for example `"30m"`. */
function textOf(milliseconds: number): string {
  for (const [unit, length] of Object.entries(UNITS)) {
    if (milliseconds >= length && milliseconds % length === 0) return `${milliseconds / length}${unit}`;
  }
  return "0s";
}
