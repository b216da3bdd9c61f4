import type { RequestHandler } from "@sveltejs/kit";

export const POST: RequestHandler = async ({ locals }) => {
  return Response.json((await locals.session.rotate())?.data.userId ?? null);
};
