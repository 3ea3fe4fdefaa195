// Counts the points that a graph can draw. NaN and infinity are valid numbers in Prometheus and are no points.

export function finitePoints(fields) {
  return fields.reduce((sum, field) => sum + field.values.filter(Number.isFinite).length, 0);
}

export function withoutPoints(panels) {
  return panels.filter((panel) => panel.points === 0).map((panel) => `${panel.title}: no data`);
}
