"""The environment variable that marks all processes of a run, so that they can be found."""

from collections.abc import Mapping

# All processes of a run inherit it; `tools.run_guard` kills those that are left after the run.
RUN_MARK = "PARTISAN_RUN"


def unmarked(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables without the mark, for a process that cleans up after the run."""
    return {name: value for name, value in environ.items() if name != RUN_MARK}
