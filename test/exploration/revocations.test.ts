import { hasRevocation, hasRotation, testTriples } from "../support/triples.ts";

testTriples("a revocation of all and no rotation", (names) => hasRevocation(names) && !hasRotation(names));
