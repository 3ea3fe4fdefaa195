// Gives the fields of a frame the configuration that Grafana's server would give them.
import {
  applyFieldOverrides, DataFrame, Field, FieldConfigOptionsRegistry, getDisplayProcessor, getFieldDisplayName, GrafanaTheme2, stringToJsRegex,
} from '@grafana/data';

const SERVER_DEFAULTS = {
  thresholds: { mode: 'absolute', steps: [{ value: -Infinity, color: 'green' }] },
  color: { mode: 'palette-classic' },
  mappings: [],
};

const GRAPH_DEFAULTS = {
  axisPlacement: 'auto', axisGridShow: true, drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0,
  gradientMode: 'none', barAlignment: 0, barWidthFactor: 0.6, showPoints: 'auto', pointSize: 5, spanNulls: false,
  stacking: { mode: 'none', group: 'A' }, hideFrom: { tooltip: false, viz: false, legend: false },
  thresholdsStyle: { mode: 'off' }, scaleDistribution: { type: 'linear' },
};

function put(config: any, path: string, value: unknown) {
  const parts = path.split('.');
  const last = parts.pop()!;
  const place = parts.reduce((at, part) => (at[part] ??= {}), config);
  place[last] = value;
}

function lowest(config: any) {
  for (const step of config.thresholds?.steps ?? []) {
    step.value ??= -Infinity;
  }
  return config;
}

function matches({ id, options }: any, name: string) {
  return id === 'byRegexp' ? stringToJsRegex(options).test(name) : id === 'byName' && options === name;
}

export function configure(frames: DataFrame[], panel: any, theme: GrafanaTheme2): DataFrame[] {
  const graph = panel.type === 'timeseries';
  let index = 0;
  for (const frame of frames) {
    for (const field of frame.fields) {
      const { custom, ...defaults } = structuredClone(panel.fieldConfig?.defaults ?? {});
      const config: any = { ...SERVER_DEFAULTS, ...defaults, ...field.config, custom: graph ? { ...GRAPH_DEFAULTS, ...custom } : { ...custom } };
      field.config = lowest(config);
      const name = getFieldDisplayName(field, frame, frames);
      for (const override of panel.fieldConfig?.overrides ?? []) {
        if (matches(override.matcher, name)) {
          for (const property of structuredClone(override.properties)) {
            put(config, property.id, property.value);
          }
        }
      }
      lowest(config);
      field.state = { ...field.state, displayName: name, seriesIndex: field.type === 'number' ? index++ : 0 };
    }
  }
  const shown = applyFieldOverrides({
    data: frames,
    fieldConfig: { defaults: {}, overrides: [] },
    fieldConfigRegistry: new FieldConfigOptionsRegistry(() => []),
    replaceVariables: (text) => text,
    theme,
    timeZone: 'utc',
  });
  shown.forEach((frame, at) => frame.fields.forEach((field, to) => restore(field, frames[at].fields[to], theme)));
  return shown;
}

function restore(field: Field, from: Field, theme: GrafanaTheme2) {
  field.config = from.config;
  field.state = { ...field.state, displayName: from.state?.displayName };
  field.display = getDisplayProcessor({ field, theme, timeZone: 'utc' });
}
