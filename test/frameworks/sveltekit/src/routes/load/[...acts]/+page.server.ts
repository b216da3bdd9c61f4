import type { ServerLoad } from "@sveltejs/kit";
import { requestActs } from "../../../acts.ts";

export const load: ServerLoad = async (event) => {
  // The outer request may have used its session before.
  if (event.url.searchParams.has("read")) await event.locals.session.get();
  return { answers: await requestActs(event) };
};
