import { sessionCookie } from "../../src/index.ts";
import { cookieJar } from "../support/http.ts";

export const COOKIE = sessionCookie().name;

/** A client of a server that sends `Origin` and keeps the session cookie as a browser does. It follows no redirect. */
export function browser(origin: string) {
  const jar = cookieJar(COOKIE);
  return {
    get cookie() {
      return jar.cookie;
    },
    async visit(path: string, { headers, ...init }: RequestInit = {}): Promise<Response> {
      const sent = new Headers(headers);
      if (jar.cookie !== null) sent.set("cookie", jar.cookie);
      if (init.method === "POST" && !sent.has("origin")) sent.set("origin", new URL(origin).origin);
      return jar.receive(await fetch(new URL(path, origin), { redirect: "manual", ...init, headers: sent }));
    },
  };
}

/** The lines of `Set-Cookie` for the session cookie. */
export function sessionCookies(response: Response): string[] {
  return response.headers.getSetCookie().filter((line) => line.startsWith(`${COOKIE}=`));
}

/** The directives of `Cache-Control`, or the names in `Vary`, in lower case. */
export function listOf(response: Response, header: string): string[] {
  const items = (response.headers.get(header) ?? "").split(",");
  return items.map((item) => item.trim().toLowerCase()).filter((item) => item !== "");
}
