"""A damaged card breaks no differential and no evaluation, and changes no count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hostile_models import ESCAPE, mutate
from sentences import Ask, is_sentence

# How a card is damaged, and what a differential then says; None where it counts all the same.
CARDS: dict[str, tuple[dict[str, Any], str | None]] = {
    "not at all": ({}, None),
    "no format": ({"format": None}, "has format None"),
    "another model's": ({"weights_sha256": "0" * 64, "evaluations": 3}, None),
    "no hashes": ({"files": 3}, None),
    "another hash": ({"files": {"model.onnx": "0" * 64}}, "is not the file that"),
    "no evaluations": ({"evaluations": None}, "evaluations are damaged"),
    "strange evaluations": ({"evaluations": [{"tasks": 3}]}, "evaluations are damaged"),
    "words of a terminal": ({"intended_use": ESCAPE, "not_for": [ESCAPE]}, None),
}


def test_a_damaged_card_never_changes_what_a_differential_counts(
    export: Path, smears: Path, ask: Ask
) -> None:
    """It counts what it counted with the whole card, or says what is wrong with this one."""
    path = export / "card.json"
    whole = path.read_bytes()

    def counted() -> tuple[dict[str, int] | None, str]:
        command = ("differential", smears / "test", "--model", export, "--device", "cpu", "--json",
                   "--unsure-below", "0")  # fmt: skip
        code, out, told = ask(*command)
        if code:
            assert (code, out) == (1, ""), told
            assert is_sentence(told), told
            return None, told
        assert "\x1b" not in out
        (group,) = json.loads(out)["groups"]
        return {name: found["count"] for name, found in group["classes"].items()}, told

    right, _ = counted()
    assert right is not None
    assert sum(right.values()) > 0
    for case, (damage, reason) in CARDS.items():
        path.write_text(json.dumps({**json.loads(whole), **damage}))
        found, told = counted()
        assert found == (None if reason else right), case
        assert reason is None or reason in told, case
    for seed in range(40):
        path.write_bytes(mutate(whole, seed))
        found, told = counted()
        if is_json(path.read_bytes()):
            assert found in (None, right), seed
        else:
            assert "cannot be read as JSON" in told, seed


def is_json(content: bytes) -> bool:
    """Whether bytes are JSON in UTF-8."""
    try:
        json.loads(content.decode())
    except ValueError:
        return False
    return True


def test_an_evaluation_reads_no_card(export: Path, smears: Path, ask: Ask) -> None:
    (export / "card.json").write_text("{")
    evaluated = ["evaluate", export, smears, "--dataset", "synthetic", "--device", "cpu"]
    code, _, told = ask(*evaluated)
    assert code == 0, told
