"""What is shown and logged: no control of the terminal, no secrets."""

from __future__ import annotations

import pytest

from seawall.errors import HIDDEN, describe_error, make_printable, strip_controls


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07kite", "kite"),
        ("\x1b]52;c;cm0gLXJm\x1b\\kite", "kite"),
        ("\x1b(Bkite\x1bc", "kite"),
        ("a\rb\x08c\x07\x00", "abc"),
        ("\x9b31mkite", "31mkite"),
        ("kite\u202egnp.exe", "kitegnp.exe"),
        ("one\n\ttwo, ü, 風箏, 🪁", "one\n\ttwo, ü, 風箏, 🪁"),
    ],
)
def test_nothing_controls_a_terminal(text, expected):
    assert strip_controls(text) == expected


def test_secrets_of_the_environment_are_hidden(monkeypatch):
    monkeypatch.setenv("KITES_API_KEY", "kite-0123456789")
    monkeypatch.setenv("LOCAL_API_KEY", "none")
    assert make_printable("wrong key kite-0123456789, none other") == f"wrong key {HIDDEN}, none other"


@pytest.mark.parametrize(
    "secret",
    [
        "sk-abcdefghijklmnop1234",
        "hf_abcdefghijklmnop1234",
        "AIza" + "a" * 35,
        "Bearer abcdefgh1234",
        "http://me:pw@kites",
    ],
)
def test_what_looks_like_a_secret_is_hidden(secret):
    shown = describe_error(RuntimeError(f"The server at {secret} refused."))
    assert secret not in shown and HIDDEN in shown and shown.endswith("refused.")


def test_ordinary_texts_stay_as_they_are():
    text = "Cannot load 'sk-learn' from https://kites.example/a:b@c: 3 of 4 tokens.\n"
    assert make_printable(text) == text
