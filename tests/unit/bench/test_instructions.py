"""Instructions of code outside the benchmarks are counted, equally in every run."""

import sys
import textwrap
import threading
from functools import partial

from bench.budget.instructions import Instructions
from bench.variant import notes


def in_thread(call):
    """Run a call in a separate thread, where no coverage is measured; return its result."""
    results = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    thread.join()
    return results[0]


def counted(call):
    def count():
        instructions = Instructions()
        with instructions.counted("caller"):
            call()
        return instructions.of("caller")

    return in_thread(count)


def test_more_work_is_more_instructions_and_a_repetition_counts_the_same():
    def words(number):
        return textwrap.fill("word " * number, 20)

    counted(partial(words, 500))  # warm up, as scenarios do
    once, again, twice = (counted(partial(words, number)) for number in (500, 500, 1000))

    assert once == again
    assert 1.8 * once < twice < 2.2 * once


def test_nothing_of_the_benchmarks_own_code_is_counted():
    counted(notes)
    own, with_others = counted(lambda: None), counted(notes)

    assert own < 20  # from the end of the block itself
    assert with_others > own


def test_nothing_is_counted_after_the_block_and_the_trace_function_before_is_back():
    def count():
        before = sys.gettrace()
        instructions = Instructions()
        for _ in range(2):
            with instructions.counted("caller"):
                textwrap.dedent("  a")
        found = instructions.of("caller")
        textwrap.dedent("  a")
        return sys.gettrace() is before, found, instructions.of("caller")

    is_back, found, later = in_thread(count)

    assert is_back
    assert found == later > 0


def test_roles_are_counted_apart_and_threads_of_a_role_together():
    instructions = Instructions()

    def count(role):
        with instructions.counted(role):
            textwrap.dedent("  a")
        return instructions.of(role)

    in_thread(lambda: count("warm-up"))
    in_thread(lambda: count("worker"))
    once = instructions.of("worker")
    in_thread(lambda: count("worker"))

    assert instructions.of("worker") == 2 * once > 0
    assert instructions.of("manager") == 0
