import type { RequestHandler } from "@sveltejs/kit";

async function whoami({ locals }: Parameters<RequestHandler>[0]): Promise<Response> {
  return Response.json((await locals.session.get())?.data.userId ?? null);
}

export const GET: RequestHandler = whoami;
export const POST: RequestHandler = whoami;
