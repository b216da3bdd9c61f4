import type { SessionRequest } from "../../src/index.ts";

/** Creates a request with this `Cookie` header, for an exchange. */
export function requestParts(cookie?: string | null, headers: Readonly<Record<string, string>> = {}): SessionRequest {
  const all: Readonly<Record<string, string | null | undefined>> = { ...headers, cookie };
  return { method: "GET", url: "/", path: "/", header: (name) => all[name] };
}

/** Creates a request with this `Cookie` header. */
export function request(cookie?: string | null): Request {
  return new Request("https://app.example/", { headers: cookie ? { cookie } : {} });
}

/** A browser's cookie jar for one cookie: holds its `name=value` pair until a response clears it. */
export interface Jar {
  readonly cookie: string | null;
  request(): Request;
  receive(response: Response): Response;
}

export function cookieJar(name = "__Host-Http-sid", cookie: string | null = null): Jar {
  return {
    get cookie() {
      return cookie;
    },
    request: () => request(cookie),
    receive(response) {
      for (const line of response.headers.getSetCookie()) {
        if (!line.startsWith(`${name}=`)) continue;
        const [pair = ""] = line.split(";");
        cookie = /; Max-Age=0(;|$)/.test(line) ? null : pair;
      }
      return response;
    },
  };
}

/** The token in a `name=value` pair or a `Set-Cookie` line. */
export function tokenOf(cookie: string | null | undefined): string {
  const [, token] = /^[^=]+=([^;]+)/.exec(cookie ?? "") ?? [];
  if (token === undefined) throw new Error("There is no token in this cookie");
  return token;
}
