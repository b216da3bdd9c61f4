import type { RequestHandler } from "@sveltejs/kit";

export const POST: RequestHandler = async ({ locals }) => Response.json(await locals.session.destroy());
