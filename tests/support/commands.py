"""Run ``manage.py`` and other Python programs of the repository in separate processes."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.progress import descendants, progress_of

ROOT = Path(__file__).resolve().parents[2]
MANAGE = (sys.executable, "-m", "tests.manage")
"""The command line of ``manage.py`` with the test settings; its working directory is ``ROOT``."""


def python(
    *arguments: str, env: Mapping[str, str] | None = None, seconds: float = 60
) -> "subprocess.CompletedProcess[str]":
    """Run Python in the repository until it exits, without a terminal; the result has both outputs as text.

    Fail if the process and its descendants make no progress for ``seconds``.
    """
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        progress = progress_of(lambda: descendants(process.pid), seconds)
        reached = progress()
        while True:
            try:
                out, err = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                if reached == (reached := progress()):
                    process.kill()
                    raise
            else:
                return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def manage(*command: str, env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a management command until it exits; ``env`` has all variables, ``None`` keeps the test's."""
    return python("-m", "tests.manage", *command, env=env)


def run(*command: str, env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run any program in the repository until it exits; the result has both outputs as text."""
    return subprocess.run(
        command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
