"""Lines of the log: what is hidden, how they begin, and when it is set up."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from presenced.host.logs import VALUE_CHARS_MAX, set_up_logs
from presenced.log import Log, log


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    log.before_first_line(lambda: None)


def test_only_fields_that_say_nothing_of_content_are_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    set_up_logs("info")
    log.info("link up", peer="abc", title="A secret title", uri="https://secret.example")
    told = capsys.readouterr()
    assert told.out == "", "stdout is for the ready line"
    assert "level='info' event='link up'" in told.err
    assert "peer='abc'" in told.err
    assert "secret" not in told.err


def test_a_value_is_cut_and_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("info")
    log.error("request failed", detail="x\n" * VALUE_CHARS_MAX)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.count("x?") == VALUE_CHARS_MAX // 2


def test_less_than_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("error")
    log.warning("host error", code="full")
    assert capsys.readouterr().err == ""


def test_under_the_journal_a_line_begins_with_its_priority(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:12345")
    set_up_logs("info")
    log.warning("host error", code="full")
    assert capsys.readouterr().err.startswith("<4>event='host error'")


def test_a_log_is_set_up_once_and_not_before_it_has_something_to_say() -> None:
    said: list[str] = []
    quiet = Log()
    quiet.before_first_line(lambda: said.append("set up"))
    assert said == []
    quiet.prepared()
    quiet.prepared()
    assert said == ["set up"]
