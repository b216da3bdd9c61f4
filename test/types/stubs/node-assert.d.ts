/** The parts of node:assert/strict that the sources use, so that they can be checked without a runtime's types. */
interface Assert {
  (value: unknown, message?: string): asserts value;
  equal(actual: unknown, expected: unknown, message?: string): void;
  notEqual(actual: unknown, expected: unknown, message?: string): void;
  deepEqual(actual: unknown, expected: unknown, message?: string): void;
  ok(value: unknown, message?: string): asserts value;
  rejects(promise: Promise<unknown>, check?: (error: unknown) => boolean): Promise<void>;
}
declare const assert: Assert;
export default assert;
