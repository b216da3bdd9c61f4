import { hasRevocation, hasRotation, testTriples } from "../support/triples.ts";

testTriples("without a rotation and without revokeAll", (names) => !hasRotation(names) && !hasRevocation(names), false);
