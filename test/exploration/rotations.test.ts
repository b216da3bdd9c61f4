import { hasRotation, testTriples } from "../support/triples.ts";

testTriples("that include a rotation", hasRotation);
