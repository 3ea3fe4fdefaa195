// Checks the dashboards against Grafana's own types: wrong types, unknown enum values and unknown keys are errors.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const HERE = dirname(fileURLToPath(import.meta.url));
const DASHBOARDS = join(HERE, '../dashboards');
const FILE = join(HERE, 'dist/dashboards.ts');
// JSON has strings where the types have enums, and the Prometheus data source adds keys to annotations.
const TYPES = `import type { AnnotationQuery, Dashboard } from '@grafana/schema';
type Plain<T> = 0 extends 1 & T ? any : T extends string ? \`\${T}\` : T extends number ? number
  : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
type Annotation = AnnotationQuery & { expr: string; step: string; titleFormat: string; textFormat: string; tagKeys: string };
type Checked = Omit<Plain<Dashboard>, 'annotations'> & { annotations: { list: Array<Plain<Annotation>> } };
`;

const files = readdirSync(DASHBOARDS).sort();
const constants = files.map((name, i) => `export const dashboard${i}: Checked = ${readFileSync(join(DASHBOARDS, name), 'utf8')};\n`);
mkdirSync(dirname(FILE), { recursive: true });
writeFileSync(FILE, TYPES + constants.join(''));
const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'esnext', '--moduleResolution', 'bundler', '--target', 'es2022'];
try {
  execFileSync(process.execPath, [join(HERE, 'node_modules/typescript/bin/tsc'), ...options, FILE], { encoding: 'utf8' });
  console.log(`${files.length} dashboards have the shape of Grafana's types`);
} catch (error) {
  console.error(error.stdout);
  process.exit(1);
}
