"""Messages are split correctly however they arrive, and statements are recognized in both protocols."""

import struct

from tools.chaos import wire

STARTUP = struct.pack("!ii", 42, 196608) + b"user\0me\0application_name\0django_partisan x\0\0"


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def test_messages_that_arrive_byte_by_byte_are_cut_right():
    startup = struct.pack("!ii", len(STARTUP), 196608) + STARTUP[8:]
    encryption = struct.pack("!ii", 8, 80877103)
    sent = [encryption, startup, message(b"Q", b"SELECT 1\0"), message(b"S", b"")]

    def cut(step: int) -> list[bytes]:
        messages, stream = wire.Messages(begins_with_startup=True), b"".join(sent)
        parts = [stream[start : start + step] for start in range(0, len(stream), step)]
        return [one for part in parts for one in messages.feed(part)]

    assert cut(1) == cut(7) == cut(1000) == sent
    assert wire.startup_code(encryption) in wire.ENCRYPTION_REQUESTS
    assert wire.application_name(startup) == "django_partisan x"
    assert wire.application_name(startup[:8] + b"user\0me\0\0") == ""


def test_statement_is_recognised_in_a_simple_query():
    sent = wire.Statements().sent

    assert sent(message(b"Q", b"COMMIT\0")) == "commit"
    assert sent(message(b"Q", b"SELECT 1\0")) is None
    assert sent(message(b"S", b"")) is None


def test_prepared_statement_is_recognised_when_it_is_executed():
    statements = wire.Statements()
    insert = b"INSERT INTO django_partisan_task (status) VALUES ($1)\0"

    assert statements.sent(message(b"P", b"s1\0" + insert + b"\0\0")) is None
    assert statements.sent(message(b"B", b"\0s1\0\0\0")) == "enqueue"
    assert statements.sent(message(b"B", b"\0other\0\0\0")) is None


def test_statements_that_name_the_schema_are_recognised():
    heartbeat = (
        "SET LOCAL statement_timeout = 5000; UPDATE public.django_partisan_manager SET heartbeat_at = now()"
    )

    assert wire.name_of(heartbeat) == "heartbeat"
    assert wire.name_of("INSERT INTO public.django_partisan_manager (id)") == "register"
    assert wire.name_of("INSERT INTO public.django_partisan_task (id)") == "enqueue"
