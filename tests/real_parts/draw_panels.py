"""Check the dashboards' structure, then draw every panel with data of real managers under load.

``python -m tests.real_parts.draw_panels``. Grafana's own panel components (grafana/panels) draw, without the
Grafana server. It needs node and Debian's prometheus, prometheus-alertmanager and chromium. Pictures are
written to build/panels: each dashboard 1920 pixels wide, and as on a phone, with its panels in one column.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.real_parts.live_stack import QUEUES_UNDER_LOAD, live_stack
from tests.real_parts.servers import program
from tests.support.commands import ROOT
from tests.support.waiting import wait_until

DRAWER = ROOT / "grafana" / "panels"
NPM = [
    "npm",
    "install",
    "--legacy-peer-deps",
    "--no-audit",
    "--no-fund",
    "--no-package-lock",
    "--loglevel=error",
]


def main() -> int:
    """Run the stack for some minutes, draw the panels, and return the drawing program's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=4, help="how long the managers work first")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "panels")
    options = parser.parse_args()
    for name in ("node", "npm", "chromium"):
        program(name)
    if not (DRAWER / "node_modules").is_dir():
        subprocess.run(NPM, cwd=DRAWER, check=True)
    subprocess.run(["npm", "run", "--silent", "shape"], cwd=DRAWER, check=True)
    shutil.rmtree(options.out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder, live_stack(Path(folder), short_rules=False) as stack:
        for queue, workers in QUEUES_UNDER_LOAD.items():
            stack.start_manager(queue, workers)
        stack.start_load()
        print(f"Managers work for {options.minutes:g} minutes.", flush=True)
        time.sleep(options.minutes * 60)
        wait_until(lambda: stack.prometheus.query("sum(partisan_tasks_completed_total) > 100"), 30, "figures")
        drawing = ["node", "draw.mjs", "--prometheus", stack.prometheus.url, "--out", str(options.out)]
        drawing += ["--scrape", "1", "--minutes", f"{options.minutes:g}"]
        return subprocess.run(drawing, cwd=DRAWER, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
