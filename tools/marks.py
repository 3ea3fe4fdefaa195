"""The variable by which the processes of a run are found, and who does not inherit it."""

from collections.abc import Mapping

# Every process of a run has it; `tools.run_guard` ends those that outlive the run.
RUN_MARK = "PARTISAN_RUN"


def unmarked(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a process that outlives its run to clean up after it."""
    return {name: value for name, value in environ.items() if name != RUN_MARK}
