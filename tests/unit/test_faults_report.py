"""The figures of a fault history."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.faults.__main__ import main
from tests.faults.check_liveness import Limits
from tests.faults.checker import check_index
from tests.faults.history import Entry, Fault, Final, Plan, Recorder, Send, Stopped
from tests.faults.index import Index
from tests.faults.report import as_json, as_text, report

from .fault_histories import bend, clean, final, find, of


def made(history: list[Entry]) -> dict[str, Any]:
    index = Index(history)
    figures: dict[str, Any] = json.loads(as_json(report(index, check_index(index))))
    return figures


def test_messages_are_counted_by_what_became_of_them() -> None:
    figures = made(clean())
    counted = {name: figures[name] for name in ("messages", "acknowledged", "refused", "unknown", "resent", "pushes")}
    assert counted == {"messages": 6, "acknowledged": 4, "refused": 1, "unknown": 1, "resent": 1, "pushes": 16}
    assert figures["refusals"] == {"forbidden": 1}
    assert figures["operations"] == 7 + 2 + 1 + 4 + 2
    assert figures["longest_send_s"] == 5
    assert set(figures["found"].values()) == {0}


def test_a_fault_is_told_with_the_silence_in_it_and_the_time_to_recover() -> None:
    [fault] = made(clean())["faults"]
    assert fault["silence_s"] == 12  # from 18 to 30; the blow was at 13.5
    assert fault["recovered_s"] == 16.5
    assert fault["lasted_s"] == 11.5
    assert fault["whole_s"] == 1


def test_what_follows_the_next_blow_is_the_next_ones() -> None:
    history: list[Entry] = [*clean(), Fault("log server killed", "nats1", 20, 21, limit_s=10)]
    first, second = made(history)["faults"]
    assert first["silence_s"] == pytest.approx(4.5)
    assert second["silence_s"] == 10
    silences = {name: kind["silence_s"] for name, kind in made(history)["kinds"].items()}
    assert silences == {"node killed": 4.5, "log server killed": 10}


def _struck_three_times() -> list[Entry]:
    more = Fault("node killed", "n1", 20, 21, limit_s=10, whole=24.5), Fault("node frozen", "n1", 31, 32, limit_s=10)
    return [*clean(), *more]


def test_a_kind_is_told_with_its_worst() -> None:
    kinds = made(_struck_three_times())["kinds"]
    assert kinds["node killed"] == {"count": 2, "silence_s": 10, "recovered_s": 10, "whole_s": 3.5}
    assert (kinds["node frozen"]["count"], kinds["node frozen"]["whole_s"]) == (1, None)
    text = as_text(report(Index(_struck_three_times()), []))
    assert "node killed, the worst of 2: 10.0 s without a successful send, recovered after 10.0 s, whole" in text
    assert "node frozen, the worst of 1: " in text
    assert "whole after its end: not seen" in text


def test_several_runs_become_one_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    histories = [clean(), [*_struck_three_times(), Stopped(33, "docker exec failed")]]
    for seed, history in enumerate(histories, start=1):
        index = Index(bend(history, find(history, Plan), seed=seed))
        directory = tmp_path / f"seed-{seed}"
        directory.mkdir()
        (directory / "report.json").write_bytes(as_json(report(index, check_index(index))))
    assert main(["together", str(tmp_path / "seed-1"), str(tmp_path / "seed-2")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "| --- | ---: | ---: | ---: | ---: |"
    assert lines[2:5] == [
        "| node killed | 3 | 12.0 s | 16.5 s | 3.5 s |",
        "| node frozen | 1 | 1.0 s | 0.0 s | not seen |",
        "",
    ]
    assert lines[5:] == [
        "Seeds 1, 2; 44 s in all; 32 operations.",
        "Messages: 12 sent, 8 acknowledged, 2 refused, 2 unknown.",
        "Found: 0 lost, 0 repeated, 0 reordered, 0 wrong, 0 stale, 0 slow.",
        "Seed 2 could not go on: docker exec failed",
    ]
    assert main(["together", str(tmp_path)]) == 2
    assert "report.json: [Errno 2]" in capsys.readouterr().err
    (tmp_path / "report.json").write_text('{"seed": 1, "kinds": {"node killed": 1.0}}')
    assert main(["together", str(tmp_path)]) == 2
    assert "`judge` makes a report of a history" in capsys.readouterr().err


def test_a_silence_is_measured_to_its_end_however_long_that_takes() -> None:
    calm = [entry for entry in clean() if not isinstance(entry, Fault)]
    history = [*calm, Fault("all killed", "all", 30.2, 32, whole=70)]
    late = Send(**of("bo", 61, 62, conn=2, seq=10), cid="c-4", body="b four", order=3)
    [fault] = made([*history, late])["faults"]
    assert (fault["silence_s"], fault["recovered_s"]) == (pytest.approx(31.8), pytest.approx(31.8))
    [fault] = made([*history, replace(late, end=80, outcome="unknown", epoch="", seq=0)])["faults"]
    assert fault["silence_s"] == pytest.approx(49.8), "nobody succeeded any more"
    next_one = Fault("node killed", "n1", 50, 51, limit_s=10)
    first, second = made([*history, next_one, late])["faults"]
    assert (first["silence_s"], second["silence_s"]) == (pytest.approx(19.8), 12)


def test_a_violation_is_counted_and_shown() -> None:
    history = bend(clean(), final("n2"), backward=[])
    gone = find(history, Send, user="bo", cid="c-2")
    history = [replace(one, backward=one.backward[:-1]) if one == final("n2") else one for one in history]
    index = Index(history)
    found = check_index(index)
    figures = report(index, found)
    assert figures.found["lost"] == len(found) == 2
    text = as_text(figures, found)
    assert "lost: 2" in text
    assert f"r {gone.seq}: acknowledged, and gone" in text
    assert of("bo", 28, 30)["client"] in text


def test_a_history_in_a_file_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad, told = (tmp_path / name for name in ("good.jsonl", "bad.jsonl", "report.json"))
    last = find(clean(), Final, node="n2")
    for path, gone in ((good, None), (bad, last)):
        with path.open("wb") as file:
            recorder = Recorder(file)
            for entry in clean():
                if entry != gone:
                    recorder.note(entry)
    assert main(["judge", str(good), str(told)]) == 0
    assert "all 13 invariants hold" in capsys.readouterr().out
    assert json.loads(told.read_bytes()) == made(clean())
    assert main(["judge", str(bad)]) == 1
    assert "n2 did not show r at the end" in capsys.readouterr().out
    assert main(["judge", str(tmp_path / "none")]) == 2


def test_patience_multiplies_the_limits_of_time() -> None:
    history = clean()
    index = Index(bend(history, find(history, Fault), limit_s=1.0))
    assert {violation.what for violation in check_index(index)} == {"slow"}
    assert check_index(index, Limits(patience=20)) == []
