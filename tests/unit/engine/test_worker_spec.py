"""A worker's start-up data can be read only by the code that wrote it."""

import pickle
from typing import Any

from django_partisan import __version__
from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.engine import protocol
from django_partisan.engine.worker_spec import packed, unpacked
from tests.support.engine import config_of, spec_of


def test_a_spec_comes_out_as_it_went_in():
    assert unpacked(packed(spec_of(1, 7))) == spec_of(1, 7)


def test_the_rule_for_errors_of_its_queue_is_read_where_the_spec_is_since_not_every_class_can_be_pickled(
    settings: Any,
):
    made = type("MadeAtRunTime", (Exception,), {})
    rule = ErrorsHandleConfig([made], 3, 5)
    settings.PARTISAN_CONFIG = {"default": {"DEFAULT_RETRY": rule}}
    spec = spec_of(1, 7)._replace(config=config_of(default_retry=rule))

    read = unpacked(packed(spec))

    assert read is not None
    assert read.config.default_retry is rule
    assert read == spec


def test_a_spec_of_other_code_is_not_even_unpickled():
    for versions in ((protocol.VERSION + 1, __version__), (protocol.VERSION, "99.0")):
        assert unpacked(pickle.dumps((*versions, b"what only other code can read"))) is None
