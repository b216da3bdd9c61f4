import { ownBackend } from "../support/redis.ts";
import { sizes } from "../support/sizes.ts";

const { backend } = await ownBackend();

sizes(() => backend);
