import { Agent, request } from "node:http";

/** A response as a browser receives it. */
export interface Answer {
  /** 0 if there was no response. */
  readonly status: number;
  readonly body: string;
  readonly location: string | null;
  readonly setCookie: readonly string[];
  /** In milliseconds of `performance.now()`. */
  readonly from: number;
  readonly to: number;
}

/** A request from a page of the same origin. */
export interface Sending {
  readonly path: string;
  readonly cookie: string | null;
  /** The form of a POST request. */
  readonly form?: Readonly<Record<string, string>> | undefined;
  /** Whether the browser navigates, rather than a script that fetches. */
  readonly navigates: boolean;
}

/** Much later than any response is due. */
const HUNG_MS = 30_000;
/** Shorter than the time after which any of the servers closes an idle connection. */
const IDLE_MS = 4000;

const agent = new Agent({ keepAlive: true, timeout: IDLE_MS, maxSockets: Number.POSITIVE_INFINITY });

export async function send(origin: string, { path, cookie, form, navigates }: Sending): Promise<Answer> {
  const body = form === undefined ? null : new URLSearchParams(form).toString();
  const headers = {
    accept: navigates ? "text/html,application/xhtml+xml,*/*;q=0.8" : "application/json",
    "sec-fetch-site": "same-origin",
    "sec-fetch-mode": navigates ? "navigate" : "cors",
    "sec-fetch-dest": navigates ? "document" : "empty",
    ...(body === null
      ? {}
      : {
          origin,
          "content-type": "application/x-www-form-urlencoded",
          "content-length": String(Buffer.byteLength(body)),
        }),
    ...(cookie === null ? {} : { cookie }),
  };
  const from = performance.now();
  return await new Promise((resolve) => {
    const settle = (answer: Partial<Answer>): void => {
      const none = { status: 0, body: "", location: null, setCookie: [] };
      resolve({ ...none, ...answer, from, to: performance.now() });
    };
    const { host: _host, hostname, port } = new URL(origin);
    const signal = AbortSignal.timeout(HUNG_MS);
    const sent = request(
      { agent, hostname, port, path, method: body === null ? "GET" : "POST", headers, signal },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk) => {
          text += chunk;
        });
        response.on("error", (error) => settle({ body: String(error) }));
        response.on("end", () =>
          settle({
            status: response.statusCode ?? 0,
            body: text,
            location: response.headers.location ?? null,
            setCookie: response.headers["set-cookie"] ?? [],
          }),
        );
      },
    );
    sent.on("error", (error) => settle({ body: String(error) }));
    sent.end(body ?? undefined);
  });
}

/** Closes connections that are no longer used. */
export function hangUp(): void {
  agent.destroy();
}
