// Draws one dashboard on one page: every panel at its position, with data from a real Prometheus.
import { createTheme, DataFrame, EventBusSrv, ThemeContext } from '@grafana/data';
import { DashboardCursorSync } from '@grafana/schema';
import { GlobalStyles, PanelChrome, PanelContextProvider } from '@grafana/ui';
import { Component, ReactNode, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { Bars, Figure, Grid } from './Figures';
import { Graph, Marks } from './Graph';
import { Heat } from './Heat';
import { configure } from './fields';
import { finitePoints } from './points.mjs';
import { ask, exemplars, moments, Span } from './prometheus';

interface Result {
  id: number;
  title: string;
  type: string;
  series: number;
  points: number;
  names: string[];
  error?: string;
}

declare global {
  interface Window {
    RESULTS: Record<number, Result>;
    READY: boolean;
  }
}

const params = new URLSearchParams(location.search);
const theme = createTheme({ colors: { mode: params.get('theme') === 'light' ? 'light' : 'dark' } });
const CELL = 30;
const GAP = 8;
const PHONE = 768;

window.RESULTS = {};

class Boundary extends Component<{ id: number; children: ReactNode }, { error?: string }> {
  state: { error?: string } = {};

  static getDerivedStateFromError(error: Error) {
    return { error: String(error) };
  }

  componentDidCatch(error: Error) {
    window.RESULTS[this.props.id].error = String(error);
  }

  render() {
    return this.state.error ? <pre>{this.state.error}</pre> : this.props.children;
  }
}

function note(panel: any, frames: DataFrame[]) {
  const numbers = frames.flatMap((frame) => frame.fields.filter((field) => field.type === 'number'));
  window.RESULTS[panel.id] = {
    id: panel.id,
    title: panel.title,
    type: panel.type,
    series: numbers.length,
    points: finitePoints(numbers),
    names: numbers.map((field) => field.state?.displayName ?? field.name),
  };
}

function Panel({ panel, span, annotations }: { panel: any; span: Span; annotations: Marks['annotations'] }) {
  const [frames, setFrames] = useState<DataFrame[]>();
  const [marks, setMarks] = useState<Marks>();
  useEffect(() => {
    const several = panel.targets.length > 1;
    Promise.all([
      Promise.all(panel.targets.map((target: any) => ask(target, span, several))),
      Promise.all(panel.targets.map((target: any) => exemplars(target, span))),
    ]).then(
      ([answers, dots]) => {
        // The fields of a table are configured later: by their names after the transformations.
        const raw = answers.flat() as DataFrame[];
        const found = panel.type === 'table' ? raw : configure(raw, panel, theme);
        note(panel, found);
        setFrames(found);
        setMarks({ exemplars: dots.flat() as any, annotations });
      },
      (error) => {
        note(panel, []);
        window.RESULTS[panel.id].error = String(error);
      }
    );
  }, []);
  const { x, y, w, h } = panel.gridPos;
  const column = (innerWidth - 2 * GAP) / 24;
  const width = w * column - GAP;
  const height = h * (CELL + GAP) - GAP;
  const place = { position: 'absolute' as const, left: GAP + x * column, top: GAP + y * (CELL + GAP), width, height };
  const draw = { timeseries: Graph, heatmap: Heat, stat: Figure, bargauge: Bars, table: Grid }[panel.type as string] as any;
  const Drawn = draw;
  return (
    <div data-panel={panel.id} style={place}>
      <PanelChrome title={panel.title} description={panel.description} width={width} height={height}>
        {(innerWidth, innerHeight) =>
          frames && marks ? (
            <Boundary id={panel.id}>
              <Drawn {...{ panel, frames, span, marks, theme }} width={innerWidth} height={innerHeight} />
            </Boundary>
          ) : null
        }
      </PanelChrome>
    </div>
  );
}

function RowTitle({ panel }: { panel: any }) {
  const style = { position: 'absolute' as const, left: 2 * GAP, top: GAP + panel.gridPos.y * (CELL + GAP) + 6, fontWeight: 500 };
  return <div style={style}>{panel.title}</div>;
}

// On a phone, Grafana stacks the panels, each as wide as the page, and keeps their heights.
function stacked(panels: any[]) {
  let y = 0;
  return panels.map((panel) => {
    const place = { ...panel, gridPos: { x: 0, y, w: 24, h: panel.gridPos.h } };
    y += panel.gridPos.h;
    return place;
  });
}

function Page({ dashboard, span, annotations }: { dashboard: any; span: Span; annotations: Marks['annotations'] }) {
  const panels = innerWidth < PHONE ? stacked(dashboard.panels) : dashboard.panels;
  const bottom = Math.max(...panels.map((panel: any) => panel.gridPos.y + panel.gridPos.h));
  const context: any = { eventBus: new EventBusSrv(), eventsScope: 'panels', sync: () => DashboardCursorSync.Off };
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <PanelContextProvider value={context}>
        <div style={{ position: 'relative', height: bottom * (CELL + GAP) + 2 * GAP }}>
          {panels.map((panel: any) =>
            panel.type === 'row' ? (
              <RowTitle key={panel.id} panel={panel} />
            ) : (
              <Panel key={panel.id} {...{ panel, span, annotations }} />
            )
          )}
        </div>
      </PanelContextProvider>
    </ThemeContext.Provider>
  );
}

async function main() {
  const dashboard = await (await fetch(`/dashboards/${params.get('uid')}.json`)).json();
  const number = (name: string) => Number(params.get(name));
  const variables = Object.fromEntries(['job', 'instance', 'queue', 'processor'].map((name) => [name, '.+']));
  const span: Span = {
    url: params.get('prometheus')!, from: number('from'), to: number('to'), step: number('step'), scrape: number('scrape'), variables,
  };
  const shown = dashboard.annotations.list.filter((annotation: any) => annotation.enable && annotation.expr);
  const found = await Promise.all(shown.map((annotation: any) => moments(annotation.expr, span)));
  const annotations = found.flatMap((times, at) =>
    times.map((time) => ({ time, colour: theme.visualization.getColorByName(shown[at].iconColor) }))
  );
  createRoot(document.getElementById('root')!).render(<Page {...{ dashboard, span, annotations }} />);
  const expected = dashboard.panels.filter((panel: any) => panel.type !== 'row').length;
  const wait = setInterval(() => {
    if (Object.keys(window.RESULTS).length === expected) {
      clearInterval(wait);
      setTimeout(() => (window.READY = true), 1000);
    }
  }, 50);
}

main();
