/** Whether the tests run on Node, and not on Bun or Deno. */
export const onNode = !("Bun" in globalThis || "Deno" in globalThis);
