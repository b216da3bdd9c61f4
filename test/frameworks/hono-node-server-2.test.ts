import { serve } from "hono-node-server-2";
import { honoSuite } from "./hono.ts";

honoSuite("2", serve);
