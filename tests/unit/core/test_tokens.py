"""Claim tokens."""

import subprocess
import sys

from django_partisan.sql.tokens import new_token

FORKS = """
import os
from django_partisan.sql.tokens import new_token

new_token()
reader, writer = os.pipe()
if os.fork() == 0:
    os.write(writer, str(new_token()).encode())
    os._exit(0)
os.wait()
print(new_token(), os.read(reader, 100).decode())
"""


def test_tokens_are_larger_than_those_of_the_sequence_and_fit_a_bigint():
    assert {token.bit_length() for token in (new_token() for _ in range(100))} == {63}


def test_a_process_that_is_forked_draws_tokens_of_its_own():
    output = subprocess.run([sys.executable, "-c", FORKS], check=True, capture_output=True, text=True).stdout

    ours, theirs = output.split()
    assert ours != theirs
