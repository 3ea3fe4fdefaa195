"""The tokens of a manager's claims: those under way, and those whose answer was lost or is not trusted.

A call draws its token before it is sent, so that a claim whose answer is lost can be found by it. Each
token has the reason why the call's tasks were interrupted; ``None`` if they had not begun.
"""

from collections.abc import Iterable
from typing import Final

from django_partisan.sql.tokens import new_token

LISTED_AT_MOST: Final = 1000
"""How many lost tokens are listed; tasks under an older one are found because there are more than known."""


class ClaimTokens:
    """Draw tokens, and list those under which tasks may be ours that are not known here."""

    def __init__(self) -> None:
        self._under_way: dict[int, str | None] = {}
        self._doubted: set[int] = set()
        """Those of the calls under way that were sent under a lease which was lost meanwhile."""
        self._listed: dict[int, str | None] = {}
        self._questions: list[set[int]] = []
        self.losses = 0
        """How many tokens were listed so far."""

    def draw(self, reason: str | None = None) -> int:
        """Return a new token for a call; at its end, call one of the next three methods."""
        token = new_token()
        self._under_way[token] = reason
        for brought in self._questions:
            brought.add(token)
        return token

    def answered(self, token: int) -> bool:
        """Note that a call was answered; return whether the answer is to be trusted.

        If the lease was lost meanwhile, it is not, because others may have taken the tasks; the token is
        listed then.
        """
        holds = token not in self._doubted
        reason = self._end(token)
        if not holds:
            self._list(token, reason)
        return holds

    def failed(self, token: int) -> None:
        """Note that a call has failed, and list its token: it may have claimed tasks all the same."""
        self._list(token, self._end(token))

    def forget(self, token: int) -> None:
        """Note that a call has ended and has claimed no tasks but those that are known."""
        self._end(token)

    def doubt_all(self) -> None:
        """Trust no answer to what is under way: the lease under which it was sent is lost."""
        self._doubted |= self._under_way.keys()

    def listed(self) -> list[int]:
        """Return the tokens that are listed."""
        return list(self._listed)

    def reason(self, token: int) -> str | None:
        """Return why the tasks of a listed token were interrupted."""
        return self._listed.get(token)

    def keep(self, tokens: Iterable[int]) -> None:
        """Move tokens under which tasks were found to the end of the list, which is cut at its start."""
        for token in self._listed.keys() & tokens:
            self._listed[token] = self._listed.pop(token)

    def begin_question(self) -> set[int]:
        """Return the tokens of all calls that will bring their tasks themselves.

        Tokens of calls that begin before ``end_question()`` are added.
        """
        brought = set(self._under_way)
        self._questions.append(brought)
        return brought

    def end_question(self, brought: set[int]) -> None:
        """Stop adding tokens to the set that ``begin_question()`` returned."""
        self._questions.remove(brought)

    def _end(self, token: int) -> str | None:
        self._doubted.discard(token)
        return self._under_way.pop(token)

    def _list(self, token: int, reason: str | None) -> None:
        self.losses += 1
        self._listed[token] = reason
        if len(self._listed) > LISTED_AT_MOST:
            claims = (one for one, interrupted in self._listed.items() if interrupted is None)
            del self._listed[next(claims, next(iter(self._listed)))]
