import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { PASSWORD } from '../support/app.js';

const CHROMIUM = process.env.CHROMIUM_PATH ?? '/usr/bin/chromium';
const ARTEFACTS = fileURLToPath(new URL('../../artefacts/', import.meta.url));
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
];
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Why there is no browser here, for the title of what is skipped; null if there is one. */
export const missingBrowser = existsSync(CHROMIUM) ? null : `${CHROMIUM} is not installed (Debian: chromium)`;

/** A page of a browser, with everything on it that must not happen. */
export interface Visit {
  page: Page;
  /** Console errors, failed requests, requests to other hosts, refusals of the content security policy. */
  troubles: string[];
  /** Writes artefacts/<name>.png. */
  picture(name: string): Promise<void>;
  /** What axe finds serious or critical, as one line each. @param within a selector, where only a part is ours */
  barriers(within?: string): Promise<string[]>;
  signIn(): Promise<void>;
}

/** One Chromium with nothing stored; each visit is a fresh profile. */
export interface TestBrowser {
  visit(url: string, options?: BrowserContextOptions): Promise<Visit>;
  close(): Promise<void>;
}

export async function startBrowser(): Promise<TestBrowser> {
  const folder = await mkdtemp(join(tmpdir(), 'db-manager-browser-'));
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS, downloadsPath: folder });
  const contexts: BrowserContext[] = [];
  return {
    async visit(url, options = {}) {
      const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
      // Ends a test that hangs; a slow machine takes as long as it takes.
      context.setDefaultTimeout(90_000);
      contexts.push(context);
      const page = await context.newPage();
      const troubles = watch(page, new URL(url).host);
      await page.goto(url);
      return visit(page, troubles);
    },
    async close() {
      for (const context of contexts) await context.close();
      await browser.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function visit(page: Page, troubles: string[]): Visit {
  return {
    page,
    troubles,
    async picture(name) {
      await mkdir(ARTEFACTS, { recursive: true });
      await page.screenshot({ path: join(ARTEFACTS, `${name}.png`), animations: 'disabled' });
    },
    async barriers(within) {
      // The browser runs it for the test: the page's own policy would refuse it.
      await page.evaluate(`${AXE}; 0`);
      const context =
        within === undefined ? '' : `{ include: ${JSON.stringify(within.split(', ').map((one) => [one]))} }`;
      const found = await page.evaluate<Violation[]>(`axe.run(${context}).then(({ violations }) => violations)`);
      return found
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`);
    },
    async signIn() {
      await page.getByLabel('E-mail', { exact: true }).fill('admin@example.org');
      await page.getByLabel('Password', { exact: true }).fill(PASSWORD);
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.getByRole('navigation', { name: 'Pages' }).waitFor();
    },
  };
}

/** What axe says of one rule that is broken. */
interface Violation {
  id: string;
  impact: string;
  nodes: { html: string }[];
}

function watch(page: Page, host: string): string[] {
  const troubles: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') troubles.push(`console: ${message.text()}`);
  });
  page.on('pageerror', (error) => troubles.push(`error: ${error.message}`));
  page.on('requestfailed', (request) => {
    const why = request.failure()?.errorText ?? '';
    // A download ends the navigation that began it; that is no failure.
    if (why !== 'net::ERR_ABORTED') troubles.push(`failed: ${request.url()} ${why}`);
  });
  page.on('response', (response) => {
    if (response.status() >= 400) troubles.push(`${response.status()}: ${response.url()}`);
  });
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (!['data:', 'blob:'].includes(url.protocol) && url.host !== host) troubles.push(`other host: ${request.url()}`);
  });
  return troubles;
}
