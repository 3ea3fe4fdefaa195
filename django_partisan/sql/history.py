"""The history of a task: the record in its row of the runs that did not complete, and of the last run.

It is a list of entries, each a JSON object without empty values:

| key | value |
| --- | --- |
| ``outcome`` | a word of ``outcomes``: also ``crashed``, if the worker died and the task ran again, and |
| | ``requeued``, ``due_now`` and ``prioritized``, which are not runs |
| ``attempt`` | the number of the run; absent if the task failed without one |
| ``started_at``, ``seconds`` | when the run started, by the database's clock, and how long it took |
| ``ended_at`` | when it ended |
| ``reason``, ``error_type``, ``error_message``, ``traceback`` | of a failure or error; long texts are cut |
| ``comment`` | the ``reason`` of ``PostponeTask``, or the comment given when the task was changed |
| ``priority`` | the new priority, if it was changed |
| ``worker`` | host and process id of the worker; the host alone if its manager died with it |
| ``count`` | the number of consecutive runs that ended alike; the other keys are those of the last run |
| ``first_started_at``, ``first_ended_at`` | when the first of these runs started and ended |

The process that ends a run creates the entry. The statement that settles the run adds the times and appends
the entry.
"""

import json
from typing import Final, NamedTuple

HISTORY_BYTES: Final = 16_000
"""The maximum size of a history as JSON text; a longer one loses entries in the middle."""
TYPE_BYTES: Final = 255
MESSAGE_BYTES: Final = 1024
TRACEBACK_BYTES: Final = 2048

_OF_ONE_RUN: Final = (
    "{attempt,count,started_at,ended_at,first_started_at,first_ended_at,seconds,worker,comment,traceback}"
)
"""The keys that may differ between entries that are merged into one."""

_APPEND: Final = f"""
    (SELECT CASE WHEN octet_length(longer::text) <= {HISTORY_BYTES} THEN longer ELSE (
            SELECT jsonb_agg(kept.entry ORDER BY kept.number)
              FROM (SELECT each.entry, each.number,
                           sum(octet_length(each.entry::text) + 2)
                               OVER (ORDER BY each.number = 1 DESC, each.number DESC) AS bytes
                      FROM jsonb_array_elements(longer) WITH ORDINALITY AS each (entry, number)) AS kept
             WHERE kept.bytes <= {HISTORY_BYTES}) END
       FROM (SELECT CASE WHEN (entries -> -1) - '{{of_one_run}}'::text[] = entry - '{{of_one_run}}'::text[]
                         THEN (entries - -1) || jsonb_build_array(jsonb_strip_nulls(
                              (entries -> -1) || entry || jsonb_build_object(
                                'count', coalesce((entries -> -1 ->> 'count')::int, 1) + 1,
                                'first_started_at', coalesce(entries -> -1 -> 'first_started_at',
                                                             entries -> -1 -> 'started_at'),
                                'first_ended_at', coalesce(entries -> -1 -> 'first_ended_at',
                                                           entries -> -1 -> 'ended_at'))))
                         ELSE entries || jsonb_build_array(entry) END AS longer
               FROM (SELECT coalesce({{history}}, '[]'::jsonb) AS entries,
                            jsonb_strip_nulls({{entry}} || jsonb_build_object(
                                'attempt', {{attempt}}, 'started_at', {{started_at}}, 'ended_at',
                                coalesce({{started_at}} + ({{entry}} ->> 'seconds')::float8
                                                          * interval '1 second', statement_timestamp()))
                            ) AS entry OFFSET 0) AS new OFFSET 0) AS history)
"""


class EndedRun(NamedTuple):
    """The details of a run besides its outcome; few are known if its manager died."""

    started: float | None = None
    """When it started, in monotonic seconds of the host."""
    seconds: float | None = None
    worker: str | None = None


UNKNOWN_RUN: Final = EndedRun()


def history_entry(
    outcome: str,
    run: EndedRun = UNKNOWN_RUN,
    *,
    reason: str | None = None,
    error_type: str | None = None,
    error_message: str | None = None,
    error_traceback: str | None = None,
    comment: str | None = None,
) -> str:
    """Return an entry as JSON text of limited size, without the values that the settling statement adds."""
    values = {
        "outcome": outcome,
        "reason": reason,
        "error_type": _cut(error_type, TYPE_BYTES),
        "error_message": _cut(error_message, MESSAGE_BYTES),
        "traceback": _cut(error_traceback, TRACEBACK_BYTES, is_end=True),
        "comment": _cut(comment, TYPE_BYTES),
        "seconds": None if run.seconds is None else round(run.seconds, 6),
        "worker": run.worker,
    }
    return _json({key: value for key, value in values.items() if value not in (None, "")})


def appended(history: str, entry: str, attempt: str, started_at: str) -> str:
    """Return the SQL expression of a history with one more entry; the arguments are expressions, too.

    An entry that differs from the last one only in the values of its run is merged into it and counted. The
    first and the last entries are always kept.
    """
    return _APPEND.format(
        history=history, entry=entry, attempt=attempt, started_at=started_at, of_one_run=_OF_ONE_RUN
    )


def _cut(text: str | None, limit: int, is_end: bool = False) -> str | None:
    """Return the start or the end of a text, cut so that its JSON has at most ``limit`` bytes."""
    if not text:
        return None
    text = text.replace("\0", "").encode("utf-8", "replace").decode()
    text = text[-limit:] if is_end else text[:limit]
    while (size := len(_json(text).encode()) - len('""')) > limit:
        length = min(len(text) * limit // size, len(text) - 1)
        text = text[-length:] if is_end else text[:length]
    return text


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
