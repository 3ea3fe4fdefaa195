"""Builders for each kind of panel on the dashboards, with a uniform style per kind."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, heatmap, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models import common as look
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode, HeatmapColorScale
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.builder.colours import BLUE, GREY, OK_ALWAYS, Steps, by_palette, in_shades, thresholds
from grafana.builder.queries import Query

Panel: TypeAlias = bargauge.Panel | heatmap.Panel | stat.Panel | table.Panel | timeseries.Panel
P = TypeVar("P", bargauge.Panel, heatmap.Panel, stat.Panel, table.Panel, timeseries.Panel)

DATASOURCE: Final = look.DataSourceRef(type_val="prometheus", uid="${datasource}")


SMALLEST_AXES: Final = {"short": 1, "s": 0.001, "suffix:/s": 0.01, "bytes": 1024**2}
"""The least upper end of an axis, by unit. If all values are 0, Grafana would draw it up to 100."""


def graph(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    width: int = 8,
    height: int = 8,
    steps: Steps | None = None,
    colours: Mapping[str, str] | None = None,
    stacked: bool = False,
    bars: bool = False,
    top: float | None = None,
    least: float | None = None,
    shades: str | None = None,
    legend_right: bool = False,
    links: Sequence[build.DashboardLink] = (),
) -> timeseries.Panel:
    """Return a graph over time. ``steps`` draws limits as lines, ``stacked`` stacks the series.

    The axis ends at ``top``, or reaches at least ``least``. Keys of ``colours`` are names of series, or
    patterns in slashes. Other series get shades of the color ``shades``, which panels of errors must set, or
    the colors of the palette.
    """
    panel = timeseries.Panel().unit(unit).min(0).span(width).height(height).data_links(list(links))
    # No lines around stacked areas: a series of zeros would draw one along the top of the series below it.
    panel.line_width(0 if stacked or bars else 1).fill_opacity(65 if stacked or bars else 12)
    panel.show_points(look.VisibilityMode.NEVER)
    panel.span_nulls(False).tooltip(
        common.VizTooltipOptions().mode(look.TooltipDisplayMode.MULTI).sort(look.SortOrder.DESCENDING)
    )
    panel.legend(_legend(legend_right)).color_scheme(in_shades(shades) if shades else by_palette())
    if bars:
        panel.draw_style(look.GraphDrawStyle.BARS)
    if stacked:
        panel.stacking(common.StackingConfig().mode(look.StackingMode.NORMAL))
    if top is not None:
        panel.max(top)
    else:
        panel.axis_soft_max(SMALLEST_AXES[unit] if least is None else least)
    if steps is not None:
        panel.thresholds(thresholds(steps)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(look.GraphThresholdsStyleMode.DASHED)
        )
    for name, colour in (colours or {}).items():
        override = panel.override_by_regexp if name.startswith("/") else panel.override_by_name
        override(name, [_fixed(colour)])
    return _filled(panel, title, description, queries)


def figure(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    width: int = 4,
    height: int = 3,
    steps: Steps = OK_ALWAYS,
    words: Mapping[str, tuple[str, str]] | None = None,
    none: str | None = None,
    decimals: int | None = None,
    text: look.BigValueTextMode = look.BigValueTextMode.VALUE,
    links: Sequence[build.DashboardLink] = (),
) -> stat.Panel:
    """Return a panel with the current value as one big figure, colored by ``steps``; gray without a value.

    ``words`` maps values to a text and a color. ``none`` is the text shown without a value. ``text`` can also
    show the name of the series, with the value or instead of it.
    """
    (_, lowest), *above = steps
    steps = [(None, GREY), (0, lowest), *above]
    panel = (
        stat.Panel()
        .unit(unit)
        .span(width)
        .height(height)
        .thresholds(thresholds(steps))
        .data_links(list(links))
    )
    panel.color_mode(look.BigValueColorMode.BACKGROUND if words else look.BigValueColorMode.VALUE)
    panel.graph_mode(look.BigValueGraphMode.NONE)
    panel.text_mode(text).justify_mode(look.BigValueJustifyMode.CENTER)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    panel.color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    if words:
        options = {
            value: model.ValueMappingResult(text=text, color=colour)
            for value, (text, colour) in words.items()
        }
        panel.mappings([model.ValueMap(options=options)])
    if none is not None:
        panel.no_value(none)
    if decimals is not None:
        panel.decimals(decimals)
    return _filled(panel, title, description, queries, now=True)


def heat(
    title: str,
    description: str,
    query: Query,
    unit: str = "s",
    width: int = 12,
    height: int = 8,
    links: Sequence[build.DashboardLink] = (),
) -> heatmap.Panel:
    """Return a heatmap of a histogram over time, with exemplars. A stronger color means a higher count."""
    panel = heatmap.Panel().span(width).height(height).unit("short").calculate(False).data_links(list(links))
    panel.color(
        heatmap.HeatmapColorOptions()
        .mode(HeatmapColorMode.SCHEME)
        .scheme("Oranges")
        .scale(HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)
        .steps(64)
    )
    panel.y_axis(heatmap.YAxisConfig().unit(unit)).cell_gap(1).show_legend()
    panel.rows_frame(heatmap.RowsHeatmapOptions().layout(look.HeatmapCellLayout.AUTO))
    panel.cell_values(heatmap.CellValues().unit("short").decimals(1)).filter_values(
        heatmap.FilterValueRange().le(1e-9)
    )
    panel.exemplars_color("rgba(92,163,255,0.9)")
    panel.tooltip(heatmap.HeatmapTooltip().mode(look.TooltipDisplayMode.SINGLE).y_histogram(True))
    return _filled(panel, title, description, [query])


def bars(
    title: str, description: str, *queries: Query, unit: str, width: int = 8, height: int = 8
) -> bargauge.Panel:
    """Return a panel with one horizontal bar per series, to show a distribution."""
    panel = (
        bargauge.Panel().unit(unit).min(0).span(width).height(height).thresholds(thresholds([(None, BLUE)]))
    )
    panel.orientation(look.VizOrientation.HORIZONTAL).display_mode(look.BarGaugeDisplayMode.BASIC).decimals(0)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)).show_unfilled(True)
    panel.color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    return _filled(panel, title, description, queries, now=True)


def grid(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    columns: Mapping[str, str],
    hidden: Sequence[str] = (),
    sort_by: str | None = None,
    cells: Mapping[str, Sequence[model.DynamicConfigValue]] | None = None,
    width: int = 24,
    height: int = 9,
) -> table.Panel:
    """Return a table with a row per set of labels and a column per query.

    ``columns`` renames and orders the columns of Prometheus (``Value #A``, a label); ``hidden`` lists columns
    to leave out; ``cells`` has the properties of single columns, by displayed name.
    """
    panel = table.Panel().unit(unit).span(width).height(height).show_header(True).filterable(False)
    panel.color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
    panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(
        model.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": dict.fromkeys(["Time", *hidden], True),
                "indexByName": {name: index for index, name in enumerate(columns)},
                "renameByName": dict(columns),
            },
        )
    )
    if sort_by is not None:
        panel.sort_by([common.TableSortByFieldState().display_name(sort_by).desc(True)])
    for name, properties in (cells or {}).items():
        panel.override_by_name(name, list(properties))
    return _filled(panel, title, description, queries)


def cell(**properties: Any) -> list[model.DynamicConfigValue]:
    """Return the properties of a column: ``unit``, ``decimals``, ``width``, ``links``, ``steps`` ..."""
    found = []
    for name, value in properties.items():
        if name == "steps":
            found.append(_property("thresholds", thresholds(value).build()))
            found.append(_property("custom.cellOptions", {"type": "color-background", "mode": "gradient"}))
        elif name == "links":
            found.append(_property("links", [link.build() for link in value]))
        else:
            found.append(_property(f"custom.{name}" if name == "width" else name, value))
    return found


def _filled(panel: P, title: str, description: str, queries: Sequence[Query], now: bool = False) -> P:
    panel.title(title).description(description).datasource(DATASOURCE)
    for index, query in enumerate(queries):
        target = Dataquery().ref_id(chr(ord("A") + index)).expr(query.promql).datasource(DATASOURCE)
        target.format(PromQueryFormat.HEATMAP if query.heatmap else PromQueryFormat.TIME_SERIES)
        if query.table:
            target.format(PromQueryFormat.TABLE)
        if now or query.table:
            target.instant()
        else:
            target.range()
        if query.legend:
            target.legend_format(query.legend)
        panel.with_target(target.exemplar(True) if query.exemplar else target)
    return panel


def _legend(right: bool) -> common.VizLegendOptions:
    legend = common.VizLegendOptions().show_legend(True).display_mode(look.LegendDisplayMode.LIST).calcs([])
    return legend.placement(look.LegendPlacement.RIGHT if right else look.LegendPlacement.BOTTOM)


def _fixed(colour: str) -> model.DynamicConfigValue:
    return _property("color", {"mode": "fixed", "fixedColor": colour})


def _property(name: str, value: object) -> model.DynamicConfigValue:
    return model.DynamicConfigValue(id_val=name, value=value)
