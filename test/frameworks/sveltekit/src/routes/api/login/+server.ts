import type { RequestHandler } from "@sveltejs/kit";

export const POST: RequestHandler = async ({ locals, url }) => {
  const { data } = await locals.session.create({ userId: url.searchParams.get("user") ?? "42" });
  return Response.json(data.userId);
};
