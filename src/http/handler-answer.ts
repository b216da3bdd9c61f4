import { kindOf } from "../base/checks.ts";

/** The response that a function of the application returned or threw. */
export interface Given<Answer> {
  readonly answer: Answer;
  readonly isThrown: boolean;
}

/**
 * Returns the response of a handler. A `Response` that it throws counts as well: React Router throws redirects.
 *
 * @param who The function that is called, for the error message. Only a handler may return `undefined`.
 */
export async function answerOf<Answer extends Response | undefined>(
  who: "the handler" | "onBackendError" | "onUnauthenticated",
  handler: () => Answer | Promise<Answer>,
): Promise<Given<Answer | Response>> {
  let answer: Answer;
  try {
    answer = await handler();
  } catch (error) {
    if (isResponse(error)) return { answer: error, isThrown: true };
    throw error;
  }
  if (isResponse(answer) || (answer === undefined && who === "the handler")) return { answer, isThrown: false };
  const allowed = who === "the handler" ? "a Response, or undefined after an upgrade" : "a Response";
  throw new TypeError(`Cannot answer a request as ${who} must return ${allowed}: received ${kindOf(answer)}`);
}

/**
 * Whether the value is a `Response`. Those of @hono/node-server, of srvx and of other realms are not instances of the
 * global class.
 */
function isResponse(value: unknown): value is Response {
  return Object.prototype.toString.call(value) === "[object Response]";
}
