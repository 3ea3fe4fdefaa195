// Stat, bar gauge and table panels: Grafana's BigValue, BarGauge and TableNG.
import {
  DataFrame, FieldDisplay, getDisplayValueAlignmentFactors, getFieldDisplayValues, GrafanaTheme2, standardTransformers,
  standardTransformersRegistry, transformDataFrame,
} from '@grafana/data';
import { BarGaugeDisplayMode, BarGaugeNamePlacement, BarGaugeValueMode, VizOrientation } from '@grafana/schema';
import { BarGauge, BigValue, BigValueTextMode, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { useEffect, useState } from 'react';
import { lastValueFrom } from 'rxjs';
import { configure } from './fields';

standardTransformersRegistry.setInit(
  () => [...new Map(Object.values(standardTransformers).map((one) => [one.id, one])).values()].map((transformation) => ({
    id: transformation.id, name: transformation.name, transformation: () => Promise.resolve(transformation),
    description: '', editor: () => null, imageDark: '', imageLight: '',
  })) as any
);

interface Props {
  panel: any;
  frames: DataFrame[];
  theme: GrafanaTheme2;
  width: number;
  height: number;
}

function values({ panel, frames, theme }: Props, sparkline: boolean): FieldDisplay[] {
  return getFieldDisplayValues({
    fieldConfig: { defaults: panel.fieldConfig.defaults, overrides: [] },
    reduceOptions: panel.options.reduceOptions,
    replaceVariables: (text) => text,
    data: frames,
    sparkline,
    theme,
    timeZone: 'utc',
  });
}

export function Figure(props: Props) {
  const { panel, theme, width, height } = props;
  const found = values(props, panel.options.graphMode !== 'none');
  return (
    <VizRepeater
      getValues={() => found}
      source={props.frames}
      width={width}
      height={height}
      orientation={VizOrientation.Auto}
      itemSpacing={3}
      renderValue={({ value, width, height }) => (
        <BigValue
          value={value.display}
          sparkline={value.sparkline}
          width={width}
          height={height}
          theme={theme}
          colorMode={panel.options.colorMode}
          graphMode={panel.options.graphMode}
          justifyMode={panel.options.justifyMode}
          textMode={found.length > 1 ? BigValueTextMode.ValueAndName : panel.options.textMode}
        />
      )}
    />
  );
}

export function Bars(props: Props) {
  const { panel, theme, width, height } = props;
  return (
    <VizRepeater
      getValues={() => values(props, false)}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      source={props.frames}
      width={width}
      height={height}
      orientation={VizOrientation.Horizontal}
      itemSpacing={8}
      renderValue={({ value, width, height, alignmentFactors }) => (
        <BarGauge
          value={value.display}
          field={value.field}
          display={value.view?.getFieldDisplayProcessor(value.colIndex!)}
          width={width}
          height={height}
          theme={theme}
          orientation={VizOrientation.Horizontal}
          displayMode={panel.options.displayMode as BarGaugeDisplayMode}
          valueDisplayMode={BarGaugeValueMode.Color}
          namePlacement={BarGaugeNamePlacement.Auto}
          showUnfilled={panel.options.showUnfilled}
          alignmentFactors={alignmentFactors}
          itemSpacing={8}
          lcdCellWidth={12}
        />
      )}
    />
  );
}

export function Grid({ panel, frames, theme, width, height }: Props) {
  const [frame, setFrame] = useState<DataFrame | null>(null);
  useEffect(() => {
    lastValueFrom(transformDataFrame(panel.transformations ?? [], frames, { interpolate: (text: string) => text })).then(
      (made) => setFrame(configure(made, panel, theme)[0])
    );
  }, [panel, frames, theme]);
  if (!frame) {
    return null;
  }
  return (
    <TableNG
      data={frame}
      width={width}
      height={height}
      sortBy={panel.options.sortBy}
      fieldConfig={panel.fieldConfig}
      structureRev={1}
      getActions={() => []}
    />
  );
}
