import { inheritedFieldNames } from "../support/field-names.ts";
import { ownBackend } from "../support/redis.ts";

const { backend } = await ownBackend();

inheritedFieldNames(backend);
