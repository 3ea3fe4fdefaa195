"""All spans and attributes, declared once for the code, its documentation and its tests.

Names in ``messaging.*``, ``server.*`` and ``error.*`` come from OpenTelemetry's semantic conventions.
"""

from typing import Final, NamedTuple

from opentelemetry.trace import SpanKind

TRACER: Final = "django_partisan"
SYSTEM: Final = "partisan"
SUBSCRIBER: Final = "traces"
"""The subscriber's name, under which its errors are counted."""

SEND: Final = "send"
CREATE: Final = "create"
BATCH_SEND: Final = "batch send"
CLAIM: Final = "claim"
PROCESS: Final = "process"
SETTLE: Final = "settle"
SCHEDULE: Final = "schedule"


class Span(NamedTuple):
    """One kind of span: ``operation`` is the first word of its name, and its type if it has one."""

    operation: str
    kind: SpanKind
    by: str
    relation: str


class Attribute(NamedTuple):
    """One attribute: the spans that carry it, and ``when``, if some of them do not always carry it."""

    name: str
    type: type
    on: tuple[str, ...]
    value: str
    when: str | None = None


SPANS: Final[dict[str, Span]] = {
    SEND: Span("send", SpanKind.PRODUCER, "delay()", "child of the current span"),
    CREATE: Span("create", SpanKind.PRODUCER, "bulk_delay(), one per task", "child of the batch send"),
    BATCH_SEND: Span(
        "send", SpanKind.CLIENT, "bulk_delay()", "child of the current span, links to the create spans"
    ),
    CLAIM: Span("claim", SpanKind.INTERNAL, "manager, if rows were claimed", "root, a link per task"),
    PROCESS: Span(
        "process",
        SpanKind.CONSUMER,
        "worker, around run(), or manager",
        "depends on TRACE_PROPAGATION: link, child with a link, or none",
    ),
    SETTLE: Span("settle", SpanKind.CLIENT, "manager", "root, a link per run"),
    SCHEDULE: Span(
        "schedule",
        SpanKind.PRODUCER,
        "manager, per batch of ticks",
        "root, the spans of the runs link to it",
    ),
}

MESSAGING_SYSTEM: Final = "messaging.system"
OPERATION_NAME: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION_NAME: Final = "messaging.destination.name"
MESSAGE_ID: Final = "messaging.message.id"
MESSAGE_COUNT: Final = "messaging.batch.message_count"
CLIENT_ID: Final = "messaging.client.id"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
ERROR_TYPE: Final = "error.type"
PROCESSOR: Final = "partisan.processor"
ATTEMPT: Final = "partisan.task.attempt"
RETRIES: Final = "partisan.task.retries"
POSTPONES: Final = "partisan.task.postpones"
PRIORITY: Final = "partisan.task.priority"
WAIT_SECONDS: Final = "partisan.task.wait_seconds"
OUTCOME: Final = "partisan.task.outcome"
DELAY_SECONDS: Final = "partisan.task.delay_seconds"
DEDUPLICATED: Final = "partisan.task.deduplicated"

_ALL: Final = tuple(SPANS)
_SINGLE: Final = (SEND, CREATE, PROCESS)
_BATCH: Final = (BATCH_SEND, CLAIM, SETTLE, SCHEDULE)
_ENQUEUED: Final = "once the row is written"
_SETTINGS: Final = "if set in the settings or libpq's variables"

ATTRIBUTES: Final = (
    Attribute(MESSAGING_SYSTEM, str, _ALL, f"`{SYSTEM}`"),
    Attribute(OPERATION_NAME, str, _ALL, "first word of the span's name"),
    Attribute(
        OPERATION_TYPE, str, (SEND, CREATE, BATCH_SEND, PROCESS, SETTLE), f"same as `{OPERATION_NAME}`"
    ),
    Attribute(DESTINATION_NAME, str, _ALL, "name of the queue"),
    Attribute(MESSAGE_ID, str, _SINGLE, "primary key of the task, as text", _ENQUEUED),
    Attribute(MESSAGE_COUNT, int, _BATCH, "number of rows"),
    Attribute(
        CLIENT_ID,
        str,
        (PROCESS, SETTLE, CLAIM, SCHEDULE),
        "host, pid of the manager, and slot of the worker if there is one, separated by colons",
    ),
    Attribute(SERVER_ADDRESS, str, _ALL, "database host or socket directory", _SETTINGS),
    Attribute(SERVER_PORT, int, _ALL, "database port", _SETTINGS),
    Attribute(PROCESSOR, str, _SINGLE, "registered name of the processor"),
    Attribute(ATTEMPT, int, (PROCESS,), "number of this run, from 1"),
    Attribute(RETRIES, int, (PROCESS,), "number of retries so far"),
    Attribute(POSTPONES, int, (PROCESS,), "number of postponements so far"),
    Attribute(PRIORITY, int, (PROCESS,), "priority of the task; tasks with lower numbers run first"),
    Attribute(WAIT_SECONDS, float, (PROCESS,), "time from the due time to the start", "if it is known"),
    Attribute(
        OUTCOME,
        str,
        (PROCESS,),
        "`completed`, `postponed`, `retried`, `failed` or `cancelled`",
        "unless the task was rescued",
    ),
    Attribute(DELAY_SECONDS, float, (PROCESS,), "delay before the next run", "if postponed or retried"),
    Attribute(DEDUPLICATED, bool, (SEND,), "whether a duplicate was found", _ENQUEUED),
    Attribute(
        ERROR_TYPE,
        str,
        (SEND, BATCH_SEND, PROCESS, SCHEDULE),
        "qualified name of the error's class",
        "if the operation failed, or the run failed or will be retried",
    ),
)

# Names in span events: the exception's follow the conventions, the others are fields of the log event of that
# name.
EXCEPTION: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
EXCEPTION_ESCAPED: Final = "exception.escaped"
EVENT_DURATION: Final = "event.duration"
EVENT_OUTCOME: Final = "event.outcome"
EVENT_REASON: Final = "event.reason"
RETRIES_LEFT: Final = "partisan.task.retries_left"
WORKER_SLOT: Final = "partisan.worker.slot"
WORKER_GENERATION: Final = "partisan.worker.generation"

# The attribute of the link from a run to the previous run, and its value.
LINK: Final = "partisan.link"
LINK_PREVIOUS_RUN: Final = "previous_run"

PREVIOUS_SPAN: Final = "partisan.previous_span"
"""The key in a row's context for the ``traceparent`` of the previous run."""

LINKS_MAX: Final = 128
"""The maximum number of links of one claim or settle, which is the SDK's default."""
