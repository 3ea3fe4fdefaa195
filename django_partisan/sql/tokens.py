"""Claim tokens, the fence around a row: an outcome is written only under the token of its claim."""

import os
import random
from typing import Final

NO_CLAIM: Final = 0
"""The token of no claim: a row that carries it was written since any claim that PostgreSQL forgot."""

_BITS: Final = 62
# Seeded by the system, here and in each process that is forked: tokens need not be secret, and a
# system call for each would cost every claim.
_random: Final = random.Random()
os.register_at_fork(after_in_child=_random.seed)


def new_token() -> int:
    """Return a token that was never used before.

    Managers draw a token before they send a claim, so that a claim whose answer is lost has a name to ask
    for. Managers of earlier versions draw theirs from a sequence; those are smaller.
    """
    return 1 << _BITS | _random.getrandbits(_BITS)
