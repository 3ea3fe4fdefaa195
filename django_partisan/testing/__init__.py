"""Run tasks inside a test, and assert what was enqueued and emitted, without a manager or workers.

from django_partisan.testing import assert_enqueued, drain

class LetterTest(TestCase):
    def test_a_letter_is_sent(self):
        self.client.post("/letters/", {"to": "ada"})

        assert_enqueued("Letter", args=["ada"])
        drain()
        assert len(mail.outbox) == 1
"""

from django_partisan.engine.inline import Ran
from django_partisan.testing.enqueued import assert_enqueued, assert_not_enqueued
from django_partisan.testing.events import CapturedEvent, CapturedEvents, captured_events
from django_partisan.testing.metrics import CapturedMetrics, captured_metrics
from django_partisan.testing.running import drain, run_pending
from django_partisan.testing.spans import CapturedSpans, captured_spans

__all__ = [
    "CapturedEvent",
    "CapturedEvents",
    "CapturedMetrics",
    "CapturedSpans",
    "Ran",
    "assert_enqueued",
    "assert_not_enqueued",
    "captured_events",
    "captured_metrics",
    "captured_spans",
    "drain",
    "run_pending",
]
