"""Track the tokens of claims that stand by or are under way, and of those with a lost or doubtful answer.

The token is drawn before the call is sent, so that tasks can be found by it if the answer is lost. With each
token is stored why the tasks of the call were interrupted; ``None`` if they had not started.
"""

from collections.abc import Iterable
from typing import Final

from django_partisan.sql.tokens import new_token

LISTED_AT_MOST: Final = 1000
"""Maximum number of lost tokens to list.

Tasks under older tokens are found when heartbeats count more claimed tasks than the manager holds.
"""


class ClaimTokens:
    """The source of tokens, and the list of those with claims that the manager may not know of."""

    def __init__(self) -> None:
        self._under_way: dict[int, str | None] = {}
        self._distrusted: set[int] = set()
        """Tokens of calls under way whose lease was lost after they were sent."""
        self._listed: dict[int, str | None] = {}
        self._questions: list[set[int]] = []
        self.losses = 0
        """Number of tokens listed so far."""

    def draw(self, reason: str | None = None) -> int:
        """Return a new token for a call; when the call has ended, use one of the next three methods."""
        token = new_token()
        self._under_way[token] = reason
        for brought in self._questions:
            brought.add(token)
        return token

    def answered(self, token: int) -> bool:
        """Record that a call was answered; return whether the answer can be trusted.

        It cannot if the lease was lost during the call, because other managers may have taken the tasks. In
        that case the token is listed.
        """
        holds = token not in self._distrusted
        reason = self._end(token)
        if not holds:
            self._list(token, reason)
        return holds

    def failed(self, token: int) -> None:
        """Record that a call failed, and list its token: the call may have claimed tasks nevertheless."""
        self._list(token, self._end(token))

    def forget(self, token: int) -> None:
        """Record that a call has ended, and that the manager has received all tasks that it claimed."""
        self._end(token)

    def distrust_all(self) -> None:
        """Distrust the answers to all calls under way, because their lease was lost."""
        self._distrusted |= self._under_way.keys()

    def listed(self) -> list[int]:
        """Return the listed tokens."""
        return list(self._listed)

    def reason(self, token: int) -> str | None:
        """Return why the tasks of a listed token were interrupted; ``None`` if they had not started.

        A token that is not listed has no reason either.
        """
        return self._listed.get(token)

    def refresh(self, tokens: Iterable[int]) -> None:
        """Move tokens under which tasks were found to the end of the list, which is cut at its start."""
        for token in self._listed.keys() & tokens:
            self._listed[token] = self._listed.pop(token)

    def begin_question(self) -> set[int]:
        """Return the tokens of all calls that stand by or are under way; their own answers bring their tasks.

        Tokens of calls that begin before ``end_question()`` are added to the set.
        """
        brought = set(self._under_way)
        self._questions.append(brought)
        return brought

    def end_question(self, brought: set[int]) -> None:
        """Stop adding tokens to the set that ``begin_question()`` returned."""
        self._questions.remove(brought)

    def _end(self, token: int) -> str | None:
        self._distrusted.discard(token)
        return self._under_way.pop(token)

    def _list(self, token: int, reason: str | None) -> None:
        self.losses += 1
        self._listed[token] = reason
        if len(self._listed) > LISTED_AT_MOST:
            claims = (one for one, interrupted in self._listed.items() if interrupted is None)
            del self._listed[next(claims, next(iter(self._listed)))]
