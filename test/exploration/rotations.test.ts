import { hasRotation, testTriples } from "../support/triples.ts";

testTriples("a rotation", hasRotation);
