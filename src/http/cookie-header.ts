/**
 * Parses the `Cookie` header of requests and the `Set-Cookie` lines of responses.
 *
 * @module
 */

/** The maximum length of a `Cookie` header. A longer one is ignored. */
const MAX_HEADER_LENGTH = 32_768;

/**
 * Returns the distinct values of the cookies with this name, at most the first two. With two values, it is impossible
 * to tell which one is right. Nothing is decoded, and only spaces and tabs are trimmed, as browsers do (RFC 6265bis,
 * section 5.6).
 */
export function cookieValues(name: string, header: string | null | undefined): readonly string[] {
  const values: string[] = [];
  if (typeof header !== "string" || header.length > MAX_HEADER_LENGTH) return values;
  let equals = header.indexOf("=");
  for (let start = 0; equals !== -1 && start < header.length; ) {
    const semicolon = header.indexOf(";", start);
    const end = semicolon === -1 ? header.length : semicolon;
    // Searches only once, not again for each pair without "=", so that the time stays linear.
    if (equals < start) equals = header.indexOf("=", start);
    if (equals !== -1 && equals < end && trimmed(header, start, equals) === name) {
      const value = trimmed(header, equals + 1, end);
      if (!values.includes(value) && values.push(value) === 2) break;
    }
    start = end + 1;
  }
  return values;
}

function trimmed(text: string, start: number, end: number): string {
  const blank = (at: number): boolean => text[at] === " " || text[at] === "\t";
  while (start < end && blank(start)) start++;
  while (end > start && blank(end - 1)) end--;
  return text.slice(start, end);
}

/**
 * Whether a browser that receives this `Set-Cookie` line would later send a value under this name. A line with an empty
 * value only clears the cookie. A browser sends a cookie without a name as its value alone. This value may look like a
 * name and a value, even an empty one (RFC 6265bis, sections 5.6 and 5.8.3).
 */
export function setsCookie(name: string, line: string): boolean {
  const [pair = ""] = line.split(";", 1);
  const nameless = trimmed(pair, 0, pair.length).startsWith("=");
  const start = nameless ? pair.indexOf("=") + 1 : 0;
  const equals = pair.indexOf("=", start);
  if (equals === -1 || trimmed(pair, start, equals) !== name) return false;
  return nameless || trimmed(pair, equals + 1, pair.length) !== "";
}
