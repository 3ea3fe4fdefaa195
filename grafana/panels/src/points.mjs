// What counts as drawn: NaN and infinity are numbers of Prometheus and no points of a graph.

export function finitePoints(fields) {
  return fields.reduce((sum, field) => sum + field.values.filter(Number.isFinite).length, 0);
}

export function withoutPoints(panels) {
  return panels.filter((panel) => panel.points === 0).map((panel) => `${panel.title}: no data`);
}
