import type { IncomingMessage, ServerResponse } from "node:http";
import type { SessionExchange, SessionRequest } from "../../src/index.ts";

/** What a handler answers. */
export interface Page {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/**
 * A listener for `node:http` whose handler gets the session of the request. It is an example of an adapter: all that it
 * does is to translate requests and responses.
 */
export function nodeListener<S>(
  begin: (request: SessionRequest) => SessionExchange<S>,
  handler: (session: S, request: IncomingMessage) => Page | Promise<Page>,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  return async (request, response) => {
    const { headers, method = "GET", url = "/" } = request;
    const path = url.split("?")[0] ?? "/";
    const exchange = begin({ method, url, path, header: (name) => headers[name]?.toString() });
    if (exchange.response !== null) return await send(response, await exchange.response);
    try {
      const { status = 200, headers = {}, body = "" } = await exchange.run(() => handler(exchange.session, request));
      const failure = await exchange.settle();
      if (failure !== null) throw failure.error;
      response.statusCode = status;
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
      for (const [name, ...values] of exchange.finish(new Headers(headers))) {
        if (values.length === 0) response.removeHeader(name);
        else response.setHeader(name, values);
      }
      response.end(body);
    } catch (error) {
      const answer = await exchange.abandon(error);
      await send(response, answer ?? new Response("Internal Server Error", { status: 500 }));
    }
  };
}

async function send(response: ServerResponse, answer: Response): Promise<void> {
  response.statusCode = answer.status;
  answer.headers.forEach((value, name) => {
    response.appendHeader(name, value);
  });
  response.end(await answer.text());
}
