import type { RequestSession } from "../../../../src/index.ts";

declare global {
  namespace App {
    interface Locals {
      session: RequestSession<{ userId: string }>;
    }
  }
}
