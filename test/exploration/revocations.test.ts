import { hasRevocation, hasRotation, testTriples } from "../support/triples.ts";

testTriples("that include revokeAll but no rotation", (names) => hasRevocation(names) && !hasRotation(names));
