import { memoryBackend } from "../../src/index.ts";
import { inheritedFieldNames } from "../support/field-names.ts";

inheritedFieldNames(memoryBackend());
