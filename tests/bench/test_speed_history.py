"""The history of speed: measured, kept in a file that loses nothing, drawn, and watched."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import drawn_fields
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import speed_history  # noqa: E402


def test_a_line_is_kept_behind_whatever_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "new" / "benchmarks.jsonl"
    first = speed_history.describe(0.127, {"loop": 3.21987})
    speed_history.append_line(path, first)
    with path.open("a") as stream:
        stream.write('{"date": "2026-11-28", "rat')  # what a killed editor leaves
    speed_history.append_line(path, {**first, "ratios": {"loop": 3.3}})
    lines, broken = speed_history.read_lines(path)
    assert [line["ratios"] for line in lines] == [{"loop": 3.2199}, {"loop": 3.3}]
    assert broken == [f"{path}, line 2 is no measurement, and is left out."]
    assert len(path.read_text().splitlines()) == 3
    assert [*path.parent.iterdir()] == [path]
    assert {"date", "commit", "changed", "processor", "cores", "packages"} < {*first}
    assert first["load"] == 0.13


@pytest.mark.parametrize(
    "damage",
    ["[]", "7", "", '{"date": "2026-11-28"}', '{"date": "soon", "processor": "", "ratios": {}}',
     '{"date": "2026-11-28", "processor": "x", "ratios": {"loop": "fast"}}', "\ufffd"],
)  # fmt: skip
def test_a_line_that_is_no_measurement_is_said(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.jsonl"
    path.write_text(f"{damage}\n", encoding="utf-8")
    assert speed_history.read_lines(path) == (
        [],
        [f"{path}, line 1 is no measurement, and is left out."],
    )


def test_what_fell_below_its_own_processor_s_median_is_said() -> None:
    def line(processor: str, **ratios: float) -> speed_history.Line:
        return {"processor": processor, "ratios": ratios}

    lines = [line("a", loop=v, start=0.5) for v in (3.0, 4.0, 9.0)] + [line("b", loop=90.0)]
    assert speed_history.fallen([*lines, line("a", loop=3.7, start=0.46, finder=0.1)]) == []
    (said,) = speed_history.fallen([*lines, line("a", loop=3.5, start=0.5)])
    assert "3.50" in said
    assert "3 earlier lines of this processor is 4.00" in said
    assert speed_history.fallen([line("a", loop=1.0)]) == []
    by_hand = {**line("c", loop=9.0), "by": "another command"}
    assert speed_history.fallen([by_hand, line("c", loop=3.0)]) == []


def test_the_picture_has_each_processor_and_is_the_same_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, picture = tmp_path / "benchmarks.jsonl", tmp_path / "speed.svg"
    command = ["speed_history", "--lines", str(path), "--picture", str(picture), "--draw-only"]
    monkeypatch.setattr(sys, "argv", command)
    assert speed_history.main() == 1
    assert "holds no measurement" in capsys.readouterr().err
    one = {"date": "2026-11-28T12:00:00+00:00", "processor": "first", "ratios": {"loop": 3.0}}
    for line in (one, {**one, "processor": "second"}, {**one, "ratios": {"loop": 2.0}}):
        speed_history.append_line(path, line)
    assert speed_history.main() == 3
    shown = picture.read_text()
    assert "fell: files to CSV, times PyTorch's loop: 2.00" in capsys.readouterr().err
    assert all(text in shown for text in ("first", "second", "2026-11-28"))
    assert speed_history.main() == 3
    assert picture.read_text() == shown


def test_the_kept_history_holds_measurements_alone() -> None:
    lines, broken = speed_history.read_lines(speed_history.LINES)
    assert broken == []
    assert all({*line["ratios"]} <= {*speed_history.RATIOS} for line in lines)


@pytest.mark.nightly  # a minute of processes, each of which other tests ask alone
def test_every_ratio_is_measured(
    smears: Path, small_run: Path, small_export: Path, tmp_path: Path
) -> None:
    drawn_fields.write_fields(tmp_path / "fields")
    ratios = speed_history.measure(
        smears, tmp_path / "fields", small_run, small_export, limit=4, batch=2, rounds=1, steps=4
    )
    assert {*ratios} >= {*speed_history.RATIOS} - {"bf16"}
    assert all(value > 0 for value in json.loads(json.dumps(ratios)).values())
