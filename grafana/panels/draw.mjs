// Draws every panel of every dashboard with data from a real Prometheus and saves the pictures.
//
//   node draw.mjs --prometheus http://127.0.0.1:9090 --out ../../build/panels [--minutes 180] [--scrape 15]
//
// The panels are Grafana's own components (@grafana/ui). There is no Grafana server; src/ draws exemplars,
// annotations and the cells of heatmaps. Exits with 1 on any error in the browser and for any panel without
// a finite point.
import { build } from 'esbuild';
import { chromium } from 'playwright-core';
import { createServer } from 'node:http';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { withoutPoints } from './src/points.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const FONTS = join(HERE, 'node_modules/@fontsource/inter/files');
const TYPES = { '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.json': 'application/json' };
const PAGE = `<!doctype html><meta charset="utf-8"><title>panels</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="/dist/main.css"><script>window.__grafana_public_path__ = '/public/';</script>
<body><div id="root"></div><script src="/dist/main.js"></script>`;

const { values: options } = parseArgs({
  options: {
    prometheus: { type: 'string' },
    out: { type: 'string', default: join(HERE, '../../build/panels') },
    minutes: { type: 'string', default: '180' },
    to: { type: 'string', default: '' },
    scrape: { type: 'string', default: '15' },
    width: { type: 'string', default: '1920' },
    phone: { type: 'string', default: '390' },
    theme: { type: 'string', default: 'dark' },
    only: { type: 'string', default: '' },
  },
});

async function bundle() {
  await build({
    entryPoints: [join(HERE, 'src/main.tsx')], bundle: true, outdir: join(HERE, 'dist'), jsx: 'automatic', minify: true,
    loader: { '.ttf': 'dataurl', '.svg': 'dataurl', '.woff': 'dataurl', '.woff2': 'dataurl' },
    define: { global: 'window', 'process.env.NODE_ENV': '"production"' }, logLevel: 'error',
  });
}

function font(name) {
  return join(FONTS, `inter-latin-${name.includes('Medium') ? 500 : 400}-normal.woff2`);
}

async function serve() {
  const places = { dist: join(HERE, 'dist'), dashboards: join(HERE, '../dashboards'), public: join(HERE, 'node_modules/@grafana/ui/dist/public') };
  const server = createServer(async (request, response) => {
    const [, first, ...rest] = normalize(new URL(request.url, 'http://localhost').pathname).split('/');
    const file = () => join(places[first], ...rest.filter((part) => part !== 'build'));
    try {
      const text = rest[0] === 'fonts' ? await readFile(font(rest.at(-1))) : places[first] ? await readFile(file()) : PAGE;
      response.writeHead(200, { 'content-type': TYPES[extname(request.url.split('?')[0])] ?? 'text/html' }).end(text);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return server;
}

function address(server, uid) {
  const to = Number(options.to) || Math.floor(Date.now() / 1000);
  const seconds = Number(options.minutes) * 60;
  const step = Math.max(1, Math.round(seconds / 360));
  const query = new URLSearchParams({
    uid, prometheus: options.prometheus, theme: options.theme, scrape: options.scrape, step,
    from: Math.floor(to / step) * step - seconds, to: Math.floor(to / step) * step,
  });
  return `http://127.0.0.1:${server.address().port}/?${query}`;
}

async function open(browser, server, uid, width, height) {
  const page = await browser.newPage({ viewport: { width: Number(width), height } });
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && errors.push(`${message.text()} ${message.location().url}`));
  await page.goto(address(server, uid), { timeout: 120_000 });
  await page.waitForFunction('window.READY', null, { timeout: 120_000 }).catch((error) => errors.push(String(error)));
  // Tables draw only the visible rows.
  const bottom = await page.evaluate('document.documentElement.scrollHeight');
  await page.setViewportSize({ width: Number(width), height: bottom });
  await page.waitForTimeout(500);
  return { page, errors };
}

async function draw(browser, server, uid) {
  const phone = await open(browser, server, uid, options.phone, 844);
  await phone.page.screenshot({ path: join(options.out, `${uid}-phone.png`), fullPage: true });
  await phone.page.close();
  const { page, errors } = await open(browser, server, uid, options.width, 1080);
  errors.push(...phone.errors);
  await page.screenshot({ path: join(options.out, `${uid}.png`), fullPage: true });
  const results = Object.values(await page.evaluate('window.RESULTS'));
  await mkdir(join(options.out, uid), { recursive: true });
  for (const { id, title } of results) {
    const name = `${String(id).padStart(2, '0')}-${title.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}.png`;
    await page.locator(`[data-panel="${id}"]`).screenshot({ path: join(options.out, uid, name) });
  }
  errors.push(...results.filter((result) => result.error).map((result) => `${result.title}: ${result.error}`));
  await page.close();
  return { uid, errors, panels: results };
}

if (!options.prometheus) {
  console.error('--prometheus URL is required');
  process.exit(2);
}
await mkdir(options.out, { recursive: true });
await bundle();
const server = await serve();
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
});
const report = [];
try {
  for (const file of (await readdir(join(HERE, '../dashboards'))).sort()) {
    const uid = file.replace('.json', '');
    if (uid.includes(options.only)) {
      report.push(await draw(browser, server, uid));
    }
  }
} finally {
  await browser.close();
  server.close();
}
await writeFile(join(options.out, 'report.json'), JSON.stringify(report, null, 2));
for (const { uid, errors, panels } of report) {
  errors.push(...withoutPoints(panels));
  console.log(`${uid}: ${panels.length} panels drawn, ${errors.length} errors`);
  errors.forEach((error) => console.error(`  ${error}`));
}
process.exit(report.some(({ errors }) => errors.length) ? 1 : 0);
