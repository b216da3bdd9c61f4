import { hasRevocation, hasRotation, testTriples } from "../support/triples.ts";

testTriples("neither rotation nor revocation of all", (names) => !hasRotation(names) && !hasRevocation(names), false);
