"""Claim tokens, which fence rows: an outcome is written only under the token of its claim."""

import os
import random
from typing import Final

NO_CLAIM: Final = 0
"""The token of no claim: a row that has it was written after any claim that PostgreSQL forgot."""

_BITS: Final = 62
# Seeded by the system, here and in each forked process: tokens need not be secret, and a system call for
# each token would make every claim slower.
_random: Final = random.Random()
os.register_at_fork(after_in_child=_random.seed)


def new_token() -> int:
    """Return a token that was never used before.

    Managers draw a token before they send a claim, so that they can look up a claim whose answer was lost.
    Managers of earlier versions draw tokens from a sequence; those are smaller.
    """
    return 1 << _BITS | _random.getrandbits(_BITS)
