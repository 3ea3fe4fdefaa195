"""Write the dashboards: ``python -m grafana.build`` (needs Python 3.11 or newer and the extra ``dev``)."""

from pathlib import Path
from typing import Final

from grafana.builder import database, overview, processors, telemetry, workers
from grafana.builder.dashboard import to_json

FOLDER: Final = Path(__file__).parent / "dashboards"


def files() -> dict[str, str]:
    """Return the dashboards by file name."""
    dashboards = [module.DASHBOARD for module in (overview, processors, workers, database, telemetry)]
    return {f"{dashboard.uid}.json": to_json(dashboard) for dashboard in dashboards}


def main() -> None:
    """Write every dashboard into ``grafana/dashboards``."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"grafana/dashboards/{name}")


if __name__ == "__main__":
    main()
