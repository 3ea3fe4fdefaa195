// A time series panel: Grafana's TimeSeries, with exemplars and annotations drawn by this page.
import { DataFrame, dateTime, TimeRange } from '@grafana/data';
import { TimeSeries, UPlotConfigBuilder } from '@grafana/ui';
import { Exemplar, Span } from './prometheus';

export interface Marks {
  exemplars: Exemplar[];
  annotations: Array<{ time: number; colour: string }>;
}

export function timeRange(span: Span): TimeRange {
  const from = dateTime(span.from * 1000);
  const to = dateTime(span.to * 1000);
  return { from, to, raw: { from, to } };
}

export function drawMarks(builder: UPlotConfigBuilder, marks: Marks, toY: (u: any, value: number) => number) {
  builder.addHook('draw', (u: any) => {
    const { ctx, bbox } = u;
    ctx.save();
    for (const { time, colour } of marks.annotations) {
      const x = u.valToPos(time, 'x', true);
      ctx.strokeStyle = ctx.fillStyle = colour;
      ctx.setLineDash([4, 4]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.beginPath();
      ctx.moveTo(x - 5, bbox.top + bbox.height + 6);
      ctx.lineTo(x + 5, bbox.top + bbox.height + 6);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.fill();
    }
    ctx.fillStyle = 'rgba(92,163,255,0.9)';
    for (const { time, value } of marks.exemplars) {
      const x = u.valToPos(time * 1000, 'x', true);
      const y = toY(u, value);
      if (x >= bbox.left && y >= bbox.top && y <= bbox.top + bbox.height) {
        ctx.beginPath();
        ctx.moveTo(x, y - 5);
        ctx.lineTo(x + 5, y);
        ctx.lineTo(x, y + 5);
        ctx.lineTo(x - 5, y);
        ctx.fill();
      }
    }
    ctx.restore();
  });
}

interface Props {
  panel: any;
  frames: DataFrame[];
  span: Span;
  marks: Marks;
  width: number;
  height: number;
}

export function Graph({ panel, frames, span, marks, width, height }: Props) {
  return (
    <TimeSeries
      frames={frames}
      structureRev={1}
      timeRange={timeRange(span)}
      timeZone="utc"
      legend={panel.options.legend}
      width={width}
      height={height}
      options={panel.options}
    >
      {(builder) => {
        drawMarks(builder, marks, (u, value) => u.valToPos(value, u.series[1].scale, true));
        return null;
      }}
    </TimeSeries>
  );
}
