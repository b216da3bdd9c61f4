import type { ServerLoad } from "@sveltejs/kit";

export const load: ServerLoad = ({ cookies, url }) => {
  cookies.set(url.searchParams.get("name") ?? "", url.searchParams.get("value") ?? "", { path: "/" });
};
