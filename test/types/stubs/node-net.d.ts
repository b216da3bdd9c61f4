/** The parts of node:net that the sources use, so that they can be checked without a runtime's types. */
export interface Socket {
  on(event: "data", listener: (chunk: unknown) => void): unknown;
  on(event: "connect" | "error", listener: () => void): unknown;
  write(text: string): unknown;
  destroy(): unknown;
}
export declare function createConnection(options: { host: string; port: number; family?: number }): Socket;
