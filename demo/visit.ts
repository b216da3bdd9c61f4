import * as z from "zod";
import type { RequestSession } from "../src/index.ts";

/** Schema of the session data. */
export const visit = z.object({ username: z.string().min(1).max(40), page_views: z.int().min(0) });

export type Visit = z.output<typeof visit>;
export type VisitSession = RequestSession<Visit>;
