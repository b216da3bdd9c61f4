import type { RequestEvent } from "@sveltejs/kit";

/** Requests `/api/<act>` of this application itself for each act in the path, in turn, and gives what they answered. */
export async function requestActs({ fetch, params, url }: Pick<RequestEvent, "fetch" | "params" | "url">) {
  const answers: unknown[] = [];
  for (const act of (params.acts ?? "").split("/")) {
    const response = await fetch(`/api/${act}${url.search}`, { method: "POST" });
    answers.push(response.ok ? await response.json() : response.status);
  }
  return answers.join();
}
