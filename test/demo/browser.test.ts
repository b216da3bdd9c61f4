import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { CHROMIUM, canRun, missingChromium, missingRuntime } from "../support/availability.ts";
import { type Demo, startDemo } from "./start.ts";

describe.runIf(canRun("browser tests", missingChromium() ?? missingRuntime("bun")))("the demo page in Chromium", () => {
  let browser: Browser;
  let demo: Demo;

  beforeAll(async () => {
    [demo, browser] = await Promise.all([startDemo("bun"), chromium.launch({ executablePath: CHROMIUM })]);
  });
  afterAll(async () => {
    await browser?.close();
    await demo?.stop();
  });

  async function open(options: { javaScriptEnabled?: boolean } = {}): Promise<{ page: Page; context: BrowserContext }> {
    const context = await browser.newContext(options);
    onTestFinished(() => context.close());
    const page = await context.newPage();
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(error.message));
    // Violations of the content security policy are reported here.
    page.on("console", (message) => {
      if (/Content.Security.Policy/i.test(message.text())) errors.push(message.text());
    });
    onTestFinished(() => expect(errors).toEqual([]));
    await page.goto(demo.url);
    return { page, context };
  }

  const status = (page: Page, text: string) => page.waitForSelector(`#status:text-is("${text}")`);

  async function cookieOf(context: BrowserContext) {
    return (await context.cookies(demo.url)).find(({ name }) => name === "__Host-Http-sid");
  }

  async function logIn(page: Page, username: string, ttl: string): Promise<void> {
    await page.fill("#username", username);
    await page.fill("#login-ttl", ttl);
    await page.click("#create");
    await status(page, "Session created in memory and cookie issued.");
  }

  test("the page logs in, counts, changes the TTL, rotates and logs out without a reload", async () => {
    const { page, context } = await open();
    await page.waitForSelector('#current:has-text("No active session")');
    await page.evaluate(() => Object.assign(globalThis, { stayed: true }));

    await logIn(page, "<i>Ada</i>", "60");
    expect(await page.textContent("#session-username")).toBe("<i>Ada</i>");
    expect(await page.inputValue("#username")).toBe("<i>Ada</i>");
    expect(await page.textContent("#page-views")).toBe("1");
    const before = await cookieOf(context);
    expect(before).toMatchObject({ httpOnly: true, secure: true, sameSite: "Lax", path: "/", expires: -1 });

    await page.focus("#increment");
    await page.keyboard.press("Enter");
    await status(page, "Session updated in memory and TTL refreshed.");
    expect(await page.textContent("#page-views")).toBe("2");
    expect(await page.getAttribute(":focus", "id")).toBe("increment");

    await page.fill("#active-ttl", "90");
    await page.click("#apply-ttl");
    await status(page, "Session TTL updated in memory.");
    await page.waitForSelector('#stored:has-text("session_ttl90")');

    const id = await page.textContent("#session-id");
    await page.click("#rotate");
    await status(page, "Token rotated in memory and cookie reissued.");
    const after = await cookieOf(context);
    expect(after?.value).not.toBe(before?.value);
    expect(await page.textContent("#session-id")).toBe(id);
    expect(await page.content()).not.toContain(after?.value.split(".")[1]);

    await page.click("#logout");
    await status(page, "Session deleted from memory and cookie cleared.");
    await page.waitForSelector('#current:has-text("No active session")');
    expect(await cookieOf(context)).toBeUndefined();
    expect(await page.evaluate(() => "stayed" in globalThis)).toBe(true);
  });

  test.each(["localhost", "127.0.0.1"])("the default cookie is kept and sent over plain http on %s", async (host) => {
    const { page, context } = await open();
    const { port } = new URL(demo.url);
    await page.goto(`http://${host}:${port}/`);
    await logIn(page, "Andrew", "60");
    expect((await context.cookies(page.url())).map(({ name }) => name)).toEqual(["__Host-Http-sid"]);
    await page.click("#increment");
    await status(page, "Session updated in memory and TTL refreshed.");
  });

  test("a script of the page cannot set a cookie with the default name", async () => {
    const { page, context } = await open();
    const lines = ["__Host-sid", "__Host-Http-sid"].map((name) => `${name}=planted; Path=/; Secure`);
    await page.evaluate(lines.map((line) => `document.cookie = ${JSON.stringify(line)}`).join(";"));
    expect((await context.cookies(demo.url)).map(({ name }) => name)).toEqual(["__Host-sid"]);
  });

  test("the page counts down to the end of the session without extending it", async () => {
    const { page } = await open();
    await logIn(page, "Andrew", "2");
    const requests: string[] = [];
    page.on("request", (request) => requests.push(new URL(request.url()).pathname + new URL(request.url()).search));
    await page.waitForSelector('#ttl:text-is("1 s")');
    await page.fill("#username", "half a na");
    await page.waitForSelector('#current:has-text("No active session")');
    await status(page, "Session expired");
    expect(requests.length).toBeGreaterThan(0);
    expect(requests.every((path) => path === "/?peek")).toBe(true);
    expect(await page.inputValue("#username")).toBe("half a na");
  });

  test("the page shows error messages", async () => {
    const { page, context } = await open();
    await logIn(page, "Andrew", "60");
    await context.clearCookies();
    await page.click("#increment");
    await status(page, "No active session");
    await page.waitForSelector("#status.error");
    await page.waitForSelector('#current:has-text("No active session")');
    await context.setOffline(true);
    await page.click("#create");
    await status(page, "The server does not answer.");
  });

  test("the page works without JavaScript", async () => {
    const { page, context } = await open({ javaScriptEnabled: false });
    await logIn(page, "Andrew", "60");
    const before = await cookieOf(context);
    await page.click("#increment");
    await status(page, "Session updated in memory and TTL refreshed.");
    expect(await page.textContent("#page-views")).toBe("2");
    const id = await page.textContent("#session-id");
    await page.click("#rotate");
    await status(page, "Token rotated in memory and cookie reissued.");
    expect(await page.textContent("#session-id")).toBe(id);
    expect((await cookieOf(context))?.value).not.toBe(before?.value);
    await page.click("#logout");
    await status(page, "Session deleted from memory and cookie cleared.");
    expect(await cookieOf(context)).toBeUndefined();
  });
});
