import { type Actions, redirect } from "@sveltejs/kit";
import { requestActs } from "../../../acts.ts";

export const actions: Actions = {
  default: async (event) => {
    const answers = await requestActs(event);
    if (event.url.searchParams.has("redirect")) redirect(303, "/");
    return { answers };
  },
};
