/** Or is it Bun or Deno? */
export const onNode = !("Bun" in globalThis || "Deno" in globalThis);
