import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { type ConnectOptions, connectRedis, type RedisAddress, redisBackend } from "../../src/redis/index.ts";

const SECRET = "hunter2";
const sentinel = (...nodes: string[]) => ({ sentinel: { name: "main", nodes } });

/** The error for an address, which `connectRedis` and `redisBackend` report alike. */
async function refusal(address: unknown, options: object = {}): Promise<Error> {
  const error = await connectRedis(address as RedisAddress, options).catch((error: unknown) => error);
  expect(() => redisBackend(address as RedisAddress, options)).toThrow((error as Error).message);
  expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(SECRET);
  return error as Error;
}

describe("addresses that are not valid", () => {
  const cases: Record<string, readonly (readonly [address: unknown, message: RegExp])[]> = {
    "an address that is missing": [
      [undefined, /received undefined.*REDIS_URL/],
      ["", /received an empty string.*REDIS_URL/],
    ],
    "an address without a supported scheme": [
      ["localhost:6379", /begins with redis:\/\/ or rediss:\/\/ or unix:\/\//],
      [`user:${SECRET}@localhost`, /begins with redis:/],
      [`http://:${SECRET}@localhost`, /begins with redis:/],
      [`redis:/:${SECRET}@localhost`, /begins with redis:/],
      [`redis+tls://:${SECRET}@localhost`, /begins with redis:/],
    ],
    "credentials that are not percent-encoded": [
      [`redis://:p@ss/w:rd%1${SECRET}@host`, /percent-encoded \(encodeURIComponent\)/],
      [`redis://:${SECRET}%zz@host`, /percent-encoded/],
      [`redis://:${SECRET}%ff@host`, /percent-encoded/],
      [`redis://app:12/${SECRET}@host`, /percent-encoded/],
      [`redis://app:12?${SECRET}@host`, /percent-encoded/],
      [`redis://app:12#${SECRET}@host`, /percent-encoded/],
      [`redis://:${SECRET} 1@host`, /percent-encoded/],
      [`redis://:${SECRET}\n1@host`, /percent-encoded/],
      [`unix://app:${SECRET}/1@/tmp/socket`, /percent-encoded/],
    ],
    "a user name without a password": [
      ["redis://app@host", /user name without a password/],
      ["redis://app:@host", /user name without a password/],
      ["unix://app@/tmp/socket", /user name without a password/],
      [{ cluster: ["redis://app@one", "redis://two"] }, /user name without a password/],
      [{ sentinel: { name: "main", nodes: ["redis://app@one"] } }, /user name without a password/],
    ],
    "a host or port that is missing or malformed": [
      [`redis://:${SECRET}@`, /there must be a host/],
      ["redis://", /there must be a host/],
      [`redis://:${SECRET}@localhost:port`, /a port from 0 to 65535/],
      [`redis://:${SECRET}@localhost:70000`, /a port from 0 to 65535/],
      ["redis://my host", /there must be a host/],
      ["redis://my%20host", /there must be a host/],
      [`unix://:${SECRET}@`, /cannot be parsed/],
      ["unix:///%zz", /cannot be parsed/],
    ],
    "an address in quotes": [
      [`"redis://:${SECRET}@localhost"`, /in quotes/],
      [` 'redis://localhost' `, /in quotes/],
    ],
    "a database that is not a whole number": [
      [`redis://:${SECRET}@localhost/first`, /the database .* whole number, as in redis:\/\/host\/1/],
      ["redis://localhost/-1", /the database/],
      ["redis://localhost/1.5", /the database/],
      ["redis://localhost/1/2", /the database/],
      ["redis://localhost/%zz", /cannot be parsed/],
      ["unix:///tmp/socket?db=first", /the database in the parameter db/],
      ["unix:///tmp/socket?db=1&db=2", /the database in the parameter db/],
    ],
    "a parameter that is not supported": [
      ["rediss://localhost?ssl_cert_reqs=none", /"ssl_cert_reqs".*tls: \{ rejectUnauthorized: false \}/],
      ["rediss://localhost?ssl_ca_certs=/ca.pem", /"ssl_ca_certs".*tls: \{ ca \}/],
      ["rediss://localhost?ssl_check_hostname=false", /"ssl_check_hostname".*tls: \{ servername \}/],
      ["redis://localhost?ssl=true", /"ssl".*rediss:/],
      [`redis://localhost?password=${SECRET}`, /"password".*the option password/],
      ["redis://localhost?db=1", /"db".*redis:\/\/host\/1/],
      ["redis://localhost?protocol=3", /"protocol".*only parameter is family/],
      ["redis://localhost?family=5", /the parameter family must be 4, 6 or 0/],
      ["redis://localhost?family=4&family=6", /the parameter family/],
      [`redis://app:12?${SECRET}`, /a parameter/],
      ["unix:///tmp/socket?family=4", /"family".*only parameter is db/],
      ["redis://localhost#1", /contains "#"/],
    ],
    "something else than an address": [
      [{ cluster: ["redis://one"], sentinel: { name: "main", nodes: ["redis://two"] } }, /both cluster and sentinel/],
      [{ cluster: [] }, /cluster must hold at least one URL/],
      [{ cluster: SECRET }, /cluster must be an array of URLs/],
      [{ cluster: [undefined] }, /must be a URL: received undefined/],
      [{ cluster: ["unix:///tmp/socket"] }, /begins with redis:\/\/ or rediss:\/\/$/],
      [{ cluster: ["redis://one/1"] }, /selects a database/],
      [{ cluster: ["redis://one", "rediss://two"] }, /mixes redis: and rediss:/],
      [{ cluster: [`redis://:${SECRET}@one`, `redis://:${SECRET}1@two`] }, /different values for the password/],
      [{ cluster: ["redis://one?family=4", "redis://two?family=6"] }, /different values for the family/],
      [{ sentinel: null }, /sentinel must be an object/],
      [{ sentinel: { nodes: ["redis://one"] } }, /sentinel.name/],
      [{ sentinel: { name: "main", nodes: [] } }, /sentinel.nodes must hold at least one URL/],
    ],
  };
  for (const [kind, addresses] of Object.entries(cases)) {
    for (const [address, message] of addresses) {
      test(`${kind} is refused without repeating it: ${JSON.stringify(address)}`, async () => {
        const error = await refusal(address);
        expect(error).toBeInstanceOf(TypeError);
        expect(error.message).toMatch(/^Cannot connect to Redis as /);
        expect(error.message).toMatch(message);
      });
    }
  }
});

describe("options that are not valid", () => {
  const cases: Record<string, readonly [options: object, message: RegExp]> = {
    "a username that is not a string": [{ username: 1 }, /username must be a string: received number/],
    "a password that is neither string nor function": [{ password: null }, /password must be .*: received null/],
    "tls that is not an object": [{ tls: true }, /tls must be an object: received boolean/],
    "an unknown key in tls": [{ tls: { rejectunauthorized: false } }, /no option "tls.rejectunauthorized"/],
    "a rejectUnauthorized that is not a boolean": [
      { tls: { rejectUnauthorized: 0 } },
      /tls.rejectUnauthorized must be/,
    ],
    "a certificate that is not a text": [{ tls: { ca: new Uint8Array() } }, /tls.ca must be a string: received object/],
    "an unknown family": [{ family: 5 }, /family must be 0, 4 or 6/],
    "a connectTimeout of 0": [{ connectTimeout: 0 }, /connectTimeout must be/],
    "a clientSideCache that is not a boolean": [{ clientSideCache: 1 }, /clientSideCache must be true or false/],
  };
  for (const [what, [options, message]] of Object.entries(cases)) {
    test(`${what} is refused`, async () => {
      expect((await refusal("rediss://localhost", options)).message).toMatch(message);
    });
  }

  test("a user name without a password is refused, and accepted with one from the URL or the option, or if it is the default", async () => {
    for (const address of ["redis://localhost", { cluster: ["redis://one"] }, sentinel("redis://one")]) {
      expect((await refusal(address, { username: "app" })).message).toMatch(/user name without a password/);
      expect((await refusal(address, { username: "app", password: "" })).message).toMatch(/without a password/);
      expect(() => redisBackend(address, { username: "default" })).not.toThrow();
      expect(() => redisBackend(address, { username: "app", password: () => SECRET })).not.toThrow();
    }
    expect(() => redisBackend(`redis://:${SECRET}@localhost`, { username: "app" })).not.toThrow();
    expect(() => redisBackend("redis://app@localhost", { password: SECRET })).not.toThrow();
  });

  test("TLS options are refused for an address without TLS", async () => {
    expect((await refusal("redis://localhost", { tls: { ca: SECRET } })).message).toMatch(/begins with rediss:/);
  });

  test("an option that neither the backend nor the connection has is refused", () => {
    expect(() => redisBackend("redis://localhost", { passwort: SECRET } as ConnectOptions)).toThrow('"passwort"');
  });
});
