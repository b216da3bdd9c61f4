import * as z from "zod";

/** Schema of a typical session: the user and some settings. */
export const visitor = z.object({
  userId: z.string(),
  name: z.string(),
  email: z.email(),
  role: z.enum(["user", "editor", "admin"]),
  visits: z.int().min(0),
  theme: z.string(),
  locale: z.string(),
  beta: z.boolean(),
  newsletter: z.boolean(),
  csrf: z.string(),
});

/** Schema of a session with a shopping cart, which makes 2 KB. */
export const shopper = visitor.extend({
  cart: z.array(z.object({ sku: z.string(), title: z.string(), quantity: z.int(), cents: z.int() })),
});

export type Visitor = z.output<typeof visitor>;
export type Shopper = z.output<typeof shopper>;

export function visitorOf(number: number): Visitor {
  return {
    userId: String(100_000 + number),
    name: "Ada Lovelace",
    email: `ada.${number}@example.com`,
    role: "editor",
    visits: 0,
    theme: "dark",
    locale: "en-GB",
    beta: true,
    newsletter: false,
    csrf: "5b0f2a1c9d3e4f6a8b7c",
  };
}

export function shopperOf(number: number): Shopper {
  const cart = Array.from({ length: 22 }, (_, line) => ({
    sku: `sku-${number}-${line}`,
    title: "Notes on the Analytical Engine",
    quantity: 1 + (line % 3),
    cents: 1995,
  }));
  return { ...visitorOf(number), cart };
}

/** The cookie data that express-session adds to every stored session. */
export const EXPRESS_COOKIE = { originalMaxAge: null, expires: null, httpOnly: true, path: "/" };
