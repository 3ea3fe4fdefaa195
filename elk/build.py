"""Write the files generated from the log table (``python -m elk.build``); the others are written by hand."""

import json
from pathlib import Path
from typing import Any, Final

from elk.builder import kibana, templates

FOLDER: Final = Path(__file__).parent


def files() -> dict[str, str]:
    """Return the generated files by their path in ``elk/``."""
    return {
        "elasticsearch/component-template.json": _json(templates.component_template()),
        "elasticsearch/index-template.json": _json(templates.index_template()),
        "elasticsearch/index-template-opensearch.json": _json(templates.opensearch_index_template()),
        "kibana/partisan.ndjson": kibana.ndjson(),
    }


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"


def main() -> None:
    """Write every generated file."""
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"elk/{name}")


if __name__ == "__main__":
    main()
