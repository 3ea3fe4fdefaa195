"""Claim tokens, the fence around a row: an outcome is written only under the token of its claim."""

import secrets
from typing import Final

_BITS: Final = 62


def new_token() -> int:
    """Return a token that was never used before.

    Managers draw a token before they send a claim, so that a claim whose answer is lost has a name to ask
    for. Managers of earlier versions draw theirs from a sequence; those are smaller.
    """
    return 1 << _BITS | secrets.randbits(_BITS)
