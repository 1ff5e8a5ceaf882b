"""Verdicts on made results: what is there is confirmed, what is not is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_results import PLAN, gain, write_study

from wbczoo.errors import UsageError
from wbczoo.study.plan.plan import read_plan
from wbczoo.study.report.claims import judge_difference, judge_figure, weigh
from wbczoo.study.report.findings import Findings, measure_study
from wbczoo.study.run.results import RESULTS, read_results

MANY = {"photographs": tuple(map(str, range(400)))}


def measured(folder: Path, chances: dict[str, Any], text: str = PLAN, **row: Any) -> Findings:
    """The findings of made results."""
    out = write_study(folder / "out", chances, text, **row)
    plan = read_plan(out / "plan.toml")
    return measure_study(plan, read_results(out / RESULTS), resamples=400)


def verdicts(found: Findings) -> list[str]:
    """Of the three claims: a branch helps; it reaches .70; it keeps what it has."""
    return [one.verdict for one in found.judged]


def test_a_branch_that_helps_is_confirmed_with_its_figures(tmp_path: Path) -> None:
    found = measured(tmp_path, {"official none": gain(0.0, 0.01), "official gru": gain(0.2, 0.01)})
    assert verdicts(found) == ["confirmed", "contradicted", "not run"]
    why = found.judged[0].why
    for piece in ("under official", "60 photographs", "5 seeds", "points [", "corrected"):
        assert piece in why
    assert [part.verdict for part in found.judged[0].parts] == ["confirmed"] * 2


def test_a_branch_that_adds_nothing_is_contradicted_where_enough_is_known(tmp_path: Path) -> None:
    chances = {"official none": gain(0.1, 0.001), "official gru": gain(0.1, 0.001)}
    found = measured(tmp_path / "many", chances, **MANY, files=200)
    assert verdicts(found)[0] == "contradicted"
    few = measured(tmp_path / "few", chances, photographs=tuple(map(str, range(12))), files=1)
    assert verdicts(few)[0] == "undecidable"


def test_a_branch_that_harms_is_contradicted(tmp_path: Path) -> None:
    chances = {"official none": gain(0.2, 0.01), "official gru": gain(0.0, 0.01)}
    assert verdicts(measured(tmp_path, chances))[0] == "contradicted"


def test_a_large_difference_with_few_seeds_is_undecidable(tmp_path: Path) -> None:
    text = PLAN.replace("seeds = [0, 1, 2, 3, 4]", "seeds = [0, 1, 2, 3]", 1)
    chances = {"official none": gain(0.0), "official gru": gain(0.3)}
    found = measured(tmp_path, chances, text)
    assert verdicts(found)[0] == "undecidable"
    assert "too few seeds" in found.judged[0].why


def test_nothing_run_is_not_run(tmp_path: Path) -> None:
    assert verdicts(measured(tmp_path, {"official majority": gain(0.0)})) == ["not run"] * 3


def test_what_needs_weights_that_are_not_to_be_had_says_so(tmp_path: Path) -> None:
    text = PLAN.replace('bar = "majority"', 'bar = "majority"\nneeds_weights = ["squeezenet1_1"]')
    text = text.replace('weights = "none"', 'weights = "imagenet"')
    found = measured(tmp_path, {"official majority": gain(0.0)}, text)
    assert verdicts(found) == ["needs weights"] * 3
    assert {one.found for one in found.judged[1].parts} == {"needs weights"}


def test_a_figure_is_reached_missed_or_still_learning(tmp_path: Path) -> None:
    high = measured(tmp_path / "high", {"official none": gain(0.25)}, **MANY)
    assert verdicts(high)[1] == "confirmed"
    low = measured(tmp_path / "low", {"official none": gain(0.0)}, **MANY)
    assert verdicts(low)[1] == "contradicted"
    # Ten epochs are planned; the best of each training was the last.
    learning = measured(tmp_path / "more", {"official none": gain(0.0)}, best_epoch=10)
    assert verdicts(learning)[1] == "undecidable"
    assert "still learning" in learning.judged[1].why


def test_who_keeps_the_last_epoch_is_not_called_learning(tmp_path: Path) -> None:
    found = measured(tmp_path, {"official none": gain(0.0)}, best_epoch=10)
    one = next(each for each in found.series if each.network and each.rows)
    assert one.learning
    assert one.network
    last = one.network.train.model_copy(update={"keep": "last"})
    trials = {seed: trial.model_copy(update={"train": last}) for seed, trial in one.trials.items()}
    assert not replace(one, trials=trials).learning


def test_what_a_leaking_protocol_promises_is_held_against_others(tmp_path: Path) -> None:
    chances = {"report none": gain(0.4), "official none": gain(0.0)}
    found = measured(tmp_path / "leak", chances, **MANY)
    assert verdicts(found)[2] == "contradicted"
    assert "under LEAKY report" in found.judged[2].why
    same = measured(tmp_path / "same", {**chances, "report none": gain(0.0)}, **MANY)
    assert verdicts(same)[2] == "confirmed"


def test_a_trial_with_a_special_setting_decides_only_where_it_is_named(tmp_path: Path) -> None:
    """Five seeds with another loss do not stand for the plain trials of one seed."""
    plain = PLAN.replace('name = "networks"', 'name = "networks"\nseeds = [0]')
    special = PLAN[PLAN.index("[[blocks]]") : PLAN.index('[[blocks]]\nname = "classical')]
    special = special.replace("networks", "special")
    special += 'settings = { class_weights = "balanced" }\n\n'
    at = plain.index("[[published]]")
    chances = {"official none": gain(0.0), "official gru": gain(0.3)}
    found = measured(tmp_path, chances, plain[:at] + special + plain[at:])
    assert verdicts(found)[0] == "undecidable"
    assert "one seed" in found.judged[0].why


def test_a_task_without_a_tested_photograph_is_undefined_and_promises_nothing(
    tmp_path: Path,
) -> None:
    """Else every figure would keep what nobody knows."""
    out = write_study(tmp_path, {"report none": gain(0.0), "official none": gain(0.0)}, **MANY)
    done = read_results(out / RESULTS)
    for row in done.values():
        if row["leaky"]:
            for line in row["answers"]:
                line[3] = None  # the task `cell` leaves every label out
    found = measure_study(read_plan(out / "plan.toml"), done, resamples=50)
    cell, nucleus = found.judged[2].parts
    assert (cell.verdict, nucleus.verdict) == ("undecidable", "confirmed")


@pytest.mark.parametrize(
    ("rule", "parts", "verdict"),
    [
        ("exceeds", ["confirmed", "confirmed"], "confirmed"),
        ("exceeds", ["confirmed", "contradicted"], "undecidable"),
        ("exceeds", ["contradicted", "contradicted", "undecidable"], "contradicted"),
        ("exceeds", ["confirmed", "contradicted", "contradicted"], "undecidable"),
        ("exceeds", ["contradicted", "undecidable"], "undecidable"),
        ("exceeds", ["contradicted", "not run"], "undecidable"),
        ("exceeds", ["confirmed", "not run"], "undecidable"),
        ("exceeds", ["not run", "not run"], "not run"),
        ("reaches", ["confirmed", "contradicted"], "contradicted"),
        ("reaches", ["confirmed", "not run"], "undecidable"),
        ("keeps", ["confirmed", "confirmed"], "confirmed"),
    ],
)
def test_a_claim_is_weighed_by_its_planned_parts(rule: str, parts: list[str], verdict: str) -> None:
    assert weigh(rule, parts) == verdict


@pytest.mark.parametrize(
    ("low", "value", "high", "corrected", "differing", "verdict"),
    [
        (0.02, 0.05, 0.08, 0.01, 30, "confirmed"),
        (0.02, 0.05, 0.08, 0.06, 30, "undecidable"),
        (0.02, 0.05, 0.08, 0.01, 9, "undecidable"),
        (-0.02, 0.0, 0.009, 0.9, 30, "contradicted"),
        (-0.02, 0.0, 0.009, 0.9, 9, "undecidable"),
        (-0.02, 0.0, 0.02, 0.9, 30, "undecidable"),
        (-0.09, -0.03, 0.02, 0.01, 30, "undecidable"),
        (-0.01, 0.05, 0.08, 0.01, 30, "undecidable"),
        (0.02, 0.05, 0.08, None, 30, "undecidable"),
    ],
)
def test_a_difference_is_judged_by_its_interval_its_p_and_its_groups(
    low: float, value: float, high: float, corrected: float | None, differing: int, verdict: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    made = {"official none": gain(0.0), "official gru": gain(0.0)}
    one = measured(tmp_path, made).comparisons[0]
    figure = {"low": low, "value": value, "high": high}
    changed = replace(one, figures={"accuracy": figure}, corrected=corrected, differing=differing)
    assert judge_difference(changed) == verdict


@pytest.mark.parametrize(
    ("low", "value", "high", "verdict"),
    [
        (0.86, 0.89, 0.91, "confirmed"),
        (0.84, 0.92, 0.97, "undecidable"),
        (0.80, 0.85, 0.89, "undecidable"),
        (0.80, 0.85, 0.88, "contradicted"),
    ],
)
def test_a_figure_is_held_against_a_claim_of_90(
    low: float, value: float, high: float, verdict: str
) -> None:
    assert judge_figure({"low": low, "value": value, "high": high}, 0.90, 0.89) == verdict


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ('protocols = ["official"]\npairs', 'protocols = ["offical"]\npairs', "'offical'"),
        ("targets = { cell = 0.70 }", "", "no `targets`"),
        ("values = [0.9876, 0.5]", "values = [0.9876]", "1 values for 2 columns"),
        ('under = "report"', 'under = "reports"', "'reports'"),
        ("targets = { cell = 0.70 }", "targets = { cel = 0.70 }", "the task 'cel'"),
        ('columns = { "batch 8" = { batch_size', 'columns = { "batch 8" = { batch', "'batch'"),
        ('pairs = [[{ sequence = "gru" }', 'pairs = [[{ branch = "gru" }', "the field 'branch'"),
    ],
)
def test_claims_and_tables_that_cannot_be_are_refused(
    before: str, after: str, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(PLAN.replace(before, after), encoding="utf-8")
    with pytest.raises(UsageError, match="is no plan") as error:
        read_plan(path)
    assert reason in str(error.value)


def test_a_claim_says_what_it_rests_on(tmp_path: Path) -> None:
    chances = {"official none": gain(0.0), "official gru": gain(0.2), "report none": gain(0.4)}
    found = measured(tmp_path, chances)
    helps, reaches, keeps = (one.describe() for one in found.judged)
    network, counts = (
        "squeezenet1_1 (no ImageNet weights)",
        "300 files of 60 photographs in 60 groups",
    )
    trained = f"; {counts}, 5 seeds, 10 epochs"
    pairs = {one.task: one for one in found.comparisons if one.first.arena == "official"}
    parts = {
        task: {
            "what": f"squeezenet1_1+gru (no ImageNet weights) less {network}, {task}",
            "protocol": "official",
            "found": str(pairs[task]),
            "verdict": "confirmed",
            "decides": True,
            "value": pairs[task].figures["accuracy"]["value"],
        }
        for task in ("cell", "nucleus")
    }
    shown = {
        task: f"{part['what']}, under official, {part['found']}" for task, part in parts.items()
    }
    best, worst = sorted(parts, key=lambda task: -parts[task]["value"])
    assert helps == {
        "claim": "A branch helps.",
        "source": "a made report",
        "rule": "exceeds",
        "verdict": "confirmed",
        "why": f"Of 2 comparisons 2 confirmed. The largest difference: {shown[best]}. The "
        f"smallest: {shown[worst]}.",
        "parts": list(parts.values()),
    }
    (part,) = reaches["parts"]
    assert part["what"] == f"{network}, cell, claimed 0.7"
    assert part["found"].startswith(f"{part['value']:.4f} [")
    assert part["found"].endswith(trained)
    assert reaches["why"] == (
        f"Of 1 figures 1 contradicted: {part['what']}, under official, {part['found']}."
    )
    assert [part["what"] for part in keeps["parts"]] == [f"{network}, cell", f"{network}, nucleus"]
    for part in keeps["parts"]:
        own, against = part["found"].split("; against ")
        assert own.startswith(f"balanced accuracy {part['value']:.4f} [")
        assert own.endswith(trained)
        assert against.endswith(f"{trained}, under LEAKY report")
        assert (part["protocol"], part["verdict"]) == ("official", "contradicted")
    one, other = (f"{part['what']}, under official, {part['found']}" for part in keeps["parts"])
    assert keeps["why"] == f"Of 2 figures 2 contradicted: {one}; {other}."


def test_what_is_not_run_is_named(tmp_path: Path) -> None:
    nothing = {"official majority": gain(0.0)}
    network = "squeezenet1_1 (no ImageNet weights)"
    pair = f"squeezenet1_1+gru (no ImageNet weights) less {network}"
    helps, reaches, keeps = measured(tmp_path / "planned", nothing).judged
    text = PLAN.replace('[[{ sequence = "gru" }', '[[{ backbone = "resnet18", sequence = "gru" }')
    assert text != PLAN
    unplanned, *_ = measured(tmp_path / "unplanned", nothing, text).judged
    for one, whats in (
        (helps, [f"{pair}, cell", f"{pair}, nucleus"]),
        (unplanned, ["resnet18+gru less none, cell", "resnet18+gru less none, nucleus"]),
        (reaches, ["cell, claimed 0.7"]),
        (keeps, ["cell", "nucleus"]),
    ):
        noun = "comparisons" if one in (helps, unplanned) else "figures"
        assert one.why == f"None of its {len(whats)} {noun} is run."
        assert [vars(part) for part in one.parts] == [
            {
                "what": what,
                "protocol": "official",
                "found": "not run",
                "verdict": "not run",
                "decides": True,
                "value": None,
            }
            for what in whats
        ]


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (0.74, 0.70, 0.80, "confirmed"),
        (None, 0.86, 0.91, "undecidable"),
        (0.89, None, 0.91, "undecidable"),
        (0.89, 0.86, None, "undecidable"),
        (0.5, 0.4, 0.70, "undecidable"),
        (0.5, 0.4, 0.69, "contradicted"),
    ],
)
def test_the_margins_themselves_are_allowed(
    value: float | None, low: float | None, high: float | None, verdict: str
) -> None:
    assert judge_figure({"low": low, "value": value, "high": high}, 0.75, 0.70) == verdict
