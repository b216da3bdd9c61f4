/** The parts of node:crypto that the sources use, so that they can be checked without a runtime's types. */
export declare function createHash(algorithm: "sha256" | "sha1"): {
  update(text: string): { digest(encoding: "base64url" | "hex"): string };
};
