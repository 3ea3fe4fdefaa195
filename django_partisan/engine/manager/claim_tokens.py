"""The tokens of a manager's claims: of those under way, and of those whose answer was lost or is not trusted.

A call draws its token before it is sent, so that a claim whose answer is lost has a name to ask for.
"""

from collections import deque
from typing import Final

from django_partisan.sql.tokens import new_token

LISTED_AT_MOST: Final = 1000
"""How many lost tokens are listed; tasks under an older one are found because there are more than known."""


class ClaimTokens:
    """Draw tokens, and list those under which tasks may be ours that are not known here."""

    def __init__(self) -> None:
        self._under_way: set[int] = set()
        self._doubted: set[int] = set()
        """Those of the calls under way that were sent under a lease which was lost meanwhile."""
        self._ended: set[int] | None = None
        """Tokens of calls that have ended since ``record_ends()``."""
        self._lost: deque[int] = deque(maxlen=LISTED_AT_MOST)
        self._rescues: deque[int] = deque(maxlen=LISTED_AT_MOST)
        self.has_new_loss = False
        """True if a token was listed since ``lost()`` was read."""

    def draw(self) -> int:
        """Return a new token for a call; ``end()`` must be called when the call has ended."""
        token = new_token()
        self._under_way.add(token)
        return token

    def end(self, token: int, is_lost: bool = False, is_rescue: bool = False) -> bool:
        """Note that a call has ended; if it ``is_lost``, it may still make tasks ours.

        ``is_rescue`` says that its tasks were interrupted. Return whether its answer still holds: after a
        lost lease it does not, because others may have taken the tasks.
        """
        is_doubted = token in self._doubted
        self._doubted.discard(token)
        self._under_way.discard(token)
        if self._ended is not None:
            self._ended.add(token)
        if is_lost or is_doubted:
            self._lost.append(token)
            if is_rescue:
                self._rescues.append(token)
            self.has_new_loss = True
        return not is_doubted

    def doubt_all(self) -> None:
        """Trust no answer to what is under way: the lease under which it was sent is lost."""
        self._doubted |= self._under_way

    def lost(self) -> list[int]:
        """Return the tokens that are listed."""
        self.has_new_loss = False
        return list(self._lost)

    def is_rescue(self, token: int) -> bool:
        """Return whether a lost token is that of a call whose tasks were interrupted."""
        return token in self._rescues

    def record_ends(self) -> None:
        """Note from now on which calls end."""
        self._ended = set()

    def answered_since(self) -> set[int]:
        """Return the tokens of calls that bring their tasks themselves, or have since ``record_ends()``."""
        ended, self._ended = self._ended or set(), None
        return self._under_way | ended
