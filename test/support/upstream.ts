import { Buffer } from "node:buffer";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";

export const UPSTREAM_TEXT = "from upstream ".repeat(200);

const CODINGS = { gzip: gzipSync, br: brotliCompressSync, deflate: deflateSync };

/** Another HTTP server, whose answers a handler fetches and returns. */
export async function startUpstream(): Promise<{ readonly url: string; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    const path = request.url?.slice(1) ?? "";
    // A forwarded "keep-alive" would hold up a client that waits for the end of the connection.
    response.setHeader("Connection", "close");
    response.setHeader("X-Upstream", "1");
    response.setHeader("Content-Type", "text/plain");
    if (path in CODINGS) {
      const body = CODINGS[path as keyof typeof CODINGS](UPSTREAM_TEXT);
      response.writeHead(200, { "Content-Encoding": path, "Content-Length": body.length }).end(body);
    } else if (path === "moved") {
      response.writeHead(302, { Location: "/" }).end();
    } else if (path === "missing") {
      response.writeHead(404, "Nothing Here").end("missing");
    } else if (path === "length") {
      response.setHeader("Content-Length", UPSTREAM_TEXT.length);
      response.end(UPSTREAM_TEXT);
    } else if (path === "cookies") {
      response.setHeader("Set-Cookie", ["a=1; Path=/", "b=2, 3"]);
      response.end("cookies");
    } else if (path === "empty") {
      response.writeHead(204).end();
    } else {
      response.write("in ");
      response.end("pieces");
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** A server that answers every request with a status line that only `fetch` can make a `Response` of. */
export async function startOddUpstream(statusLine: string): Promise<{ readonly url: string; close(): Promise<void> }> {
  const server = createTcpServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () =>
      socket.end(Buffer.from(`HTTP/1.1 ${statusLine}\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi`, "latin1")),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
