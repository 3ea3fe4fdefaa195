// Runs the queries of a panel's targets in Prometheus and converts the answers to Grafana's data frames.
import { DataFrame, FieldType, toDataFrame } from '@grafana/data';

export interface Span {
  url: string;
  from: number; // seconds
  to: number;
  step: number;
  scrape: number;
  variables: Record<string, string>;
}

export interface Target {
  refId: string;
  expr: string;
  legendFormat?: string;
  instant?: boolean;
  format?: string;
  exemplar?: boolean;
}

export interface Exemplar {
  time: number;
  value: number;
  traceId: string;
}

type Labels = Record<string, string>;
interface Series {
  metric: Labels;
  values?: Array<[number, string]>;
  value?: [number, string];
}

export function fillIn(expr: string, span: Span): string {
  const rate = Math.max(span.step + span.scrape, 4 * span.scrape);
  const known: Record<string, string> = {
    __rate_interval: `${rate}s`,
    __interval: `${span.step}s`,
    __range: `${Math.round(span.to - span.from)}s`,
    ...span.variables,
  };
  return expr.replace(/\$\{?(\w+)\}?/g, (whole, name) => known[name] ?? whole);
}

async function get(span: Span, path: string, params: Record<string, string | number>): Promise<any> {
  const query = new URLSearchParams(Object.entries(params).map(([key, value]) => [key, String(value)]));
  const response = await fetch(`${span.url}/api/v1/${path}?${query}`);
  const body = await response.json();
  if (body.status !== 'success') {
    throw new Error(`${path}: ${body.error}`);
  }
  return body.data.result ?? body.data;
}

function nameOf(target: Target, labels: Labels): string {
  if (target.legendFormat) {
    return target.legendFormat.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? '');
  }
  return Object.entries(labels).map(([key, value]) => `${key}="${value}"`).join(', ') || 'Value';
}

function lines(target: Target, result: Series[], span: Span): DataFrame[] {
  const times: number[] = [];
  for (let at = span.from; at <= span.to; at += span.step) {
    times.push(Math.round(at * 1000));
  }
  return result.map((series) => {
    const known = new Map((series.values ?? []).map(([at, value]) => [Math.round(at * 1000), Number(value)]));
    return toDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: times },
        {
          name: 'Value',
          type: FieldType.number,
          labels: series.metric,
          values: times.map((at) => known.get(at) ?? null),
          config: { displayNameFromDS: nameOf(target, series.metric) },
        },
      ],
    });
  });
}

function rows(target: Target, result: Series[], several: boolean): DataFrame[] {
  const labels = [...new Set(result.flatMap((series) => Object.keys(series.metric)))].sort();
  const column = (name: string) => result.map((series) => series.metric[name] ?? '');
  return [
    toDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: result.map((series) => Math.round(series.value![0] * 1000)) },
        ...labels.map((name) => ({ name, type: FieldType.string, values: column(name) })),
        {
          name: several ? `Value #${target.refId}` : 'Value',
          type: FieldType.number,
          values: result.map((series) => Number(series.value![1])),
        },
      ],
    }),
  ];
}

function points(target: Target, result: Series[]): DataFrame[] {
  return result.map((series) =>
    toDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: [series.value![0] * 1000] },
        {
          name: 'Value',
          type: FieldType.number,
          values: [Number(series.value![1])],
          config: { displayNameFromDS: nameOf(target, series.metric) },
        },
      ],
    })
  );
}

export async function ask(target: Target, span: Span, several: boolean): Promise<DataFrame[]> {
  const query = fillIn(target.expr, span);
  if (target.instant) {
    const now: Series[] = await get(span, 'query', { query, time: span.to });
    return target.format === 'table' ? rows(target, now, several) : points(target, now);
  }
  const { from: start, to: end, step } = span;
  return lines(target, await get(span, 'query_range', { query, start, end, step }), span);
}

export async function exemplars(target: Target, span: Span): Promise<Exemplar[]> {
  if (!target.exemplar) {
    return [];
  }
  const query = fillIn(target.expr, span);
  const found = await get(span, 'query_exemplars', { query, start: span.from, end: span.to });
  const all: Exemplar[] = found.flatMap((series: any) =>
    series.exemplars.map((one: any) => ({
      time: Number(one.timestamp),
      value: Number(one.value),
      traceId: one.labels.trace_id,
    }))
  );
  // Where exemplars are close together, leave out most of them, as Grafana does.
  const column = (one: Exemplar) => Math.floor(((one.time - span.from) / (span.to - span.from)) * 14);
  const kept = new Map<string, Exemplar>();
  for (const one of all) {
    kept.set(`${column(one)} ${Math.ceil(Math.log2(one.value + 1e-6))}`, one);
  }
  return [...kept.values()];
}

export async function moments(expr: string, span: Span): Promise<number[]> {
  const { from: start, to: end, step } = span;
  const result: Series[] = await get(span, 'query_range', { query: fillIn(expr, span), start, end, step });
  const times = new Set(result.flatMap((series) => (series.values ?? []).map(([at]) => at)));
  return [...times].filter((at) => !times.has(at - step)).map((at) => at * 1000);
}
