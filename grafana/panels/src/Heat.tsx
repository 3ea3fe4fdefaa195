// A heatmap on Grafana's UPlotChart. This page draws the cells, because Grafana's own code for it is not published.
import { DataFrame, formattedValueToString, getValueFormat, GrafanaTheme2 } from '@grafana/data';
import { AxisPlacement, ScaleDirection, ScaleOrientation } from '@grafana/schema';
import { UPlotChart, UPlotConfigBuilder, VizLayout } from '@grafana/ui';
import { Marks, drawMarks, timeRange } from './Graph';
import { Span } from './prometheus';

const FROM = [54, 34, 20];
const TO = [255, 196, 120];

interface Props {
  panel: any;
  frames: DataFrame[];
  span: Span;
  marks: Marks;
  theme: GrafanaTheme2;
  width: number;
  height: number;
}

// In Prometheus each bucket includes the smaller ones; Grafana's data source subtracts them, and so does this.
function takenApart(frames: DataFrame[]) {
  const limit = (frame: DataFrame) => Number((frame.fields[1].labels?.le ?? '').replace('+Inf', 'Infinity'));
  const sorted = [...frames].sort((one, other) => limit(one) - limit(other));
  const limits = sorted.map(limit);
  const counts = sorted.map((frame, row) =>
    frame.fields[1].values.map((value, at) => Math.max(0, (value ?? 0) - (row ? sorted[row - 1].fields[1].values[at] ?? 0 : 0)))
  );
  return { limits, counts, times: sorted[0]?.fields[0].values ?? [] };
}

export function Heat({ panel, frames, span, marks, theme, width, height }: Props) {
  const { limits, counts, times } = takenApart(frames);
  const most = Math.max(1e-9, ...counts.flat());
  const exponent = panel.options.color?.exponent ?? 0.5;
  const format = getValueFormat(panel.options.yAxis?.unit ?? 'short');
  const builder = new UPlotConfigBuilder('utc');
  const range = timeRange(span);
  builder.addScale({
    scaleKey: 'x', isTime: true, orientation: ScaleOrientation.Horizontal, direction: ScaleDirection.Right,
    range: () => [range.from.valueOf(), range.to.valueOf()],
  });
  builder.addScale({
    scaleKey: 'y', orientation: ScaleOrientation.Vertical, direction: ScaleDirection.Up, range: () => [0, limits.length],
  });
  builder.addAxis({ scaleKey: 'x', isTime: true, placement: AxisPlacement.Bottom, timeZone: 'utc', theme });
  builder.addAxis({
    scaleKey: 'y', placement: AxisPlacement.Left, theme,
    splits: limits.map((_, row) => row + 1).filter((row) => row % 2 === 0),
    values: (u: any, splits: number[]) =>
      splits.map((row) => (limits[row - 1] === Infinity ? '+Inf' : formattedValueToString(format(limits[row - 1])))),
  } as any);
  builder.addSeries({
    scaleKey: 'y', theme, show: true, pxAlign: true,
    pathBuilder: (u: any) => {
      const wide = u.valToPos(times[1], 'x', true) - u.valToPos(times[0], 'x', true);
      counts.forEach((row, at) => {
        const top = u.valToPos(at + 1, 'y', true);
        const tall = u.valToPos(at, 'y', true) - top;
        row.forEach((count, column) => {
          if (count > (panel.options.filterValues?.le ?? 0)) {
            const share = (count / most) ** exponent;
            u.ctx.fillStyle = `rgb(${FROM.map((low, i) => Math.round(low + (TO[i] - low) * share)).join(',')})`;
            const left = u.valToPos(times[column], 'x', true) - wide;
            u.ctx.fillRect(left, top, wide > 4 ? wide - 1 : wide + 0.5, tall - 1);
          }
        });
      });
      return null;
    },
  } as any);
  drawMarks(builder, marks, (u, value) => {
    const row = limits.findIndex((limit) => value <= limit);
    const below = row > 0 ? limits[row - 1] : 0;
    const part = limits[row] === Infinity ? 0.5 : (value - below) / (limits[row] - below);
    return u.valToPos(row + part, 'y', true);
  });
  builder.setPrepData(() => [times, times.map(() => 0)] as any);
  return (
    <VizLayout width={width} height={height}>
      {(vizWidth: number, vizHeight: number) => (
        <UPlotChart
          config={builder}
          data={[times, times.map(() => limits.length)] as any}
          width={vizWidth}
          height={vizHeight}
        />
      )}
    </VizLayout>
  );
}
