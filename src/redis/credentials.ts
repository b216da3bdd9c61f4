import type { Credentials } from "./address.ts";
import type { ConnectOptions } from "./connect-options.ts";
import { malformed } from "./connection-errors.ts";

/** The settings of node-redis for a user name and a password. */
export interface CredentialsSetting {
  username?: string;
  password?: string;
  credentialsProvider?: {
    readonly type: "async-credentials-provider";
    readonly credentials: () => Promise<{ username?: string; password: string }>;
  };
}

/**
 * Returns the settings for the credentials of a URL, each of which an option overrides.
 *
 * @throws {TypeError} If there is a user name without a password. node-redis would send neither, and the server would take the
 * client for the default user.
 */
export function credentialsOf(
  url: Credentials,
  options: Pick<ConnectOptions, "username" | "password"> = {},
): CredentialsSetting {
  const { username = url.username, password = url.password } = options;
  const user = username === undefined ? {} : { username };
  if (!password && username && username !== "default") {
    throw malformed(
      "there is a user name without a password: add the password, which can be any text for a user that needs none",
    );
  }
  if (typeof password !== "function") return password === undefined ? user : { ...user, password };
  const credentials = async () => ({ ...user, password: await answerOf(password) });
  return { ...user, credentialsProvider: { type: "async-credentials-provider", credentials } };
}

/** Calls the function `password`. Its error is only the cause of the new one, as its message may contain secrets. */
async function answerOf(password: () => string | Promise<string>): Promise<string> {
  let answer: unknown;
  try {
    answer = await password();
  } catch (cause) {
    throw new Error("the function password failed", { cause });
  }
  if (typeof answer !== "string") throw new TypeError("the function password must return a string");
  return answer;
}
