import { serve } from "@hono/node-server";
import { honoSuite } from "./hono.ts";

honoSuite("1", serve);
