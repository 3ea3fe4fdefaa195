"""The panel drawing program fails for a graph that would be empty, whatever Prometheus has answered."""

import json
import shutil
import subprocess

import pytest

from tests.unit.grafana import files

NODE = shutil.which("node")
POINTS = files.GRAFANA / "panels" / "src" / "points.mjs"


def _empty_panels(panels: dict[str, list[object]]) -> list[str]:
    """Return the panels that it reports as empty; text values are JavaScript, such as ``NaN``."""
    values = ", ".join(
        f"{{ title: {json.dumps(name)}, values: [{', '.join(map(str, found))}] }}"
        for name, found in panels.items()
    )
    script = f"""
        import {{ finitePoints, withoutPoints }} from {json.dumps(POINTS.as_uri())};
        const panels = [{values}];
        panels.forEach((panel) => {{ panel.points = finitePoints([panel]); }});
        console.log(JSON.stringify(withoutPoints(panels)));
    """
    command = [str(NODE), "--input-type=module", "--eval", script]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return list(json.loads(said))


@pytest.mark.skipif(NODE is None, reason="the drawer needs node")
def test_a_graph_without_a_finite_point_is_an_error() -> None:
    panels: dict[str, list[object]] = {
        "nothing": [],
        "no number": ["null", "NaN", "Infinity", "-Infinity"],
        "zeros": [0, 0],
        "one": ["NaN", 0.5, "null"],
    }

    assert _empty_panels(panels) == ["nothing: no data", "no number: no data"]
