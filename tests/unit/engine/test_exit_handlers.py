"""Exit handlers that a project registers during preloading are recorded, so that workers can run them."""

import atexit

from django_partisan.engine.worker import exit_handlers


def hello(name: str, *, loud: bool) -> None:
    """An exit handler."""


def test_what_is_registered_meanwhile_and_not_removed_is_noted():
    register, unregister = atexit.register, atexit.unregister

    with exit_handlers.noted() as handlers:
        assert atexit.register(hello, "Ada", loud=True) is hello
        atexit.register(print, "never")
        atexit.unregister(print)

    atexit.unregister(hello)
    assert handlers == [(hello, ("Ada",), {"loud": True})]
    assert (atexit.register, atexit.unregister) == (register, unregister)
