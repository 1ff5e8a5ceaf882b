"""`study report` as a user meets it: two files that agree, and need nothing beside them."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from commands import call
from made_results import PLAN, gain, write_study
from PIL import Image
from small_study import write_plan

from wbczoo.study.plan.plan import read_plan
from wbczoo.study.report.findings import measure_study
from wbczoo.study.report.missed import find_missed
from wbczoo.study.report.series import Series
from wbczoo.study.run.results import RESULTS, append_results, read_results

CHANCES = {
    "report none": gain(0.3), "official none": gain(0.0), "official gru": gain(0.02),
    "official majority": gain(-0.2),
}  # fmt: skip

# A study that runs in a second, for the road from `run` to `report`.
QUICK = """
format = 1
name = "quick"
[data.drawn]
dataset = "synthetic"
path = "{smears}"
[protocols]
report = {{ protocol = "report", data = "drawn" }}
official = {{ protocol = "official", data = "drawn" }}
[[blocks]]
name = "classical"
baselines = ["majority"]
protocols = ["report", "official"]
seeds = [0, 1]
"""


class Page(HTMLParser):
    """What a browser would fetch or follow, and whether the tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.ids: set[str] = set()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.ids |= {found["id"]} if "id" in found else set()
        for address in (found.get("src", ""), found.get("href", "")):
            if address.startswith("#"):
                self.anchors.add(address[1:])
            elif address and not address.startswith("data:"):
                self.fetched.append(address)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of made results with its report."""
    folder = write_study(tmp_path_factory.mktemp("made") / "study", CHANCES)
    assert call(["study", "report", folder, "--resamples", "200"]) == 0
    return folder


def test_the_page_needs_nothing_beside_it(made: Path) -> None:
    text = (made / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert not page.fetched
    assert not page.open
    assert not page.tags & {"script", "link", "iframe", "object"}
    assert page.anchors
    assert page.anchors <= page.ids
    assert "@import" not in text
    assert "url(" not in re.sub(r'src="data:[^"]+"', "", text)
    drawings = re.findall(r"data:image/webp;base64,([^\"]+)", text)
    # A forest plot; curves of both protocols side by side, and of the honest one with all seeds;
    # for each of two protocols confusion and reliability of two tasks.
    assert len(drawings) == 1 + 2 + 2 * 2 * 2
    for drawing in drawings:
        with Image.open(io.BytesIO(base64.b64decode(drawing))) as image:
            image.load()
            assert image.width >= 2 * 120  # the narrowest is over two inches, at 120 dots each


def test_both_files_hold_the_same_facts(made: Path) -> None:
    html = (made / "report.html").read_text(encoding="utf-8")
    plain = re.sub(r'src="[^"]+"', "", html)
    markdown = (made / "report.md").read_text(encoding="utf-8")
    number = re.compile(r"\d\.\d{4} \[\d\.\d\d, \d\.\d\d\]|[+−]\d+\.\d points \[[^\]]+\]")
    found = number.findall(markdown)
    assert len(found) > 20
    assert sorted(found) == sorted(number.findall(plain))
    assert "](" not in markdown
    for text in (plain, markdown):
        assert "LEAKY report" in text
        assert "300 files of 60 photographs in 60 groups" in text
        assert "corrected" in text


def test_the_page_begins_with_what_was_found_in_the_figures_of_its_tables(made: Path) -> None:
    markdown = (made / "report.md").read_text(encoding="utf-8")
    found, rest = markdown.split("## What the study found", 1)[1].split("trials of the study", 1)
    sentences = [line for line in found.splitlines() if line.startswith("- ")]
    leaky, honest, branch, _, claims = sentences
    figure = re.compile(r"\d\.\d{4} \[\d\.\d\d, \d\.\d\d\]")
    first, second = figure.findall(leaky)
    assert f"| {first}<br>" in rest
    assert f"| {second}<br>" in rest
    assert leaky.index("LEAKY report") < leaky.index(first) < leaky.index("under official")
    cells = rest.split("cell: accuracy", 1)[1].split("nucleus: accuracy", 1)[0]
    accuracies = [row.split("|")[3] for row in cells.splitlines() if row.startswith("| squeezenet")]
    best = max(one for text in accuracies for one in figure.findall(text.split("<br>")[0]))
    assert figure.findall(honest) == [best]
    assert "ahead in 0 by its whole interval" in branch
    assert "claims" in claims


def test_published_values_stand_beside_ours_and_what_is_not_run_says_so(made: Path) -> None:
    markdown = (made / "report.md").read_text(encoding="utf-8")
    (line,) = [one for one in markdown.splitlines() if "published 0.9876" in one]
    ours, missing = line.split("|")[2:4]
    value = float(re.findall(r"ours (0\.\d+)", ours)[0])
    gap = re.findall(r"difference ([+−][\d.]+) points", ours)[0]
    assert float(gap.replace("−", "-")) == pytest.approx(100 * (value - 0.9876), abs=0.06)
    assert "(no ImageNet weights)" in ours
    assert "published 0.5000<br>ours not run" in missing
    rows = [one for one in markdown.splitlines() if one.startswith("| squeezenet1\\_1+gru")]
    assert all(one.split("|")[2].strip() == "not run" for one in rows)
    assert rows


def test_rows_that_differ_are_told_apart_and_unknown_photographs_are_told(tmp_path: Path) -> None:
    """Of files that nobody told apart, under tasks of the user's own, with special settings."""
    text = PLAN.replace("seeds = [0, 1, 2, 3, 4]", "seeds = [0, 1, 2, 3, 4]\ntasks = TASKS", 1)
    text = text.replace("TASKS", '["cell", "nucleus=mononuclear,polynuclear"]')
    special = text[text.index("[[blocks]]") : text.index('[[blocks]]\nname = "classical')]
    special = special.replace("networks", "special").replace('"none", "gru"', '"gru"')
    special += 'hidden = 32\nprecision = "auto"\n\n'
    at = text.index("[[published]]")
    out = write_study(tmp_path / "study", CHANCES, text[:at] + special + text[at:])
    rows = [{**row, "photographs": None} for row in read_results(out / RESULTS).values()]
    (out / RESULTS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert call(["study", "report", out, "--resamples", "20"]) == 0
    markdown = (out / "report.md").read_text(encoding="utf-8")
    assert "None" not in markdown
    assert "an unknown number of photographs, 5 seeds" in markdown
    names = [
        line.split("|")[1] for line in markdown.splitlines() if line.startswith("| squeezenet")
    ]
    assert any("hidden 32, precision auto" in name for name in names)
    assert call(["study", "show", out / "plan.toml", "--out", out, "--resamples", "20"]) == 0


def test_equal_results_give_equal_bytes_and_json_has_claims_and_comparisons(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["study", "report", made, "--resamples", "200", "--out", tmp_path, "--json"]) == 0
    for name in ("report.html", "report.md"):
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes()
    document = json.loads(capsys.readouterr().out)
    assert (document["trials_done"], document["trials"]) == (16, 21)
    assert [one["rule"] for one in document["claims"]] == ["exceeds", "reaches", "keeps"]
    kinds = {one["kind"] for one in document["comparisons"]}
    assert kinds == {"branch", "bar"}
    branch = next(one for one in document["comparisons"] if one["kind"] == "branch")
    assert branch["accuracy"]["low"] < branch["accuracy"]["value"] < branch["accuracy"]["high"]
    assert branch["corrected_p"] >= branch["p"]


def test_run_keeps_the_plan_and_what_lies_beside_it_with_its_results(
    smears: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = (write_plan(tmp_path / name, smears, QUICK) for name in ("a", "b"))
    assert call(["study", "run", first, "--out", tmp_path / "out", "--device", "cpu"]) == 0
    rows = list(read_results(tmp_path / "out" / RESULTS).values())
    assert append_results(second.with_suffix("") / RESULTS, rows[:3]) == 3
    taken = tmp_path / "taken"
    capsys.readouterr()
    assert call(["study", "run", second, "--out", taken, "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done_before"] == 3
    assert len(read_results(taken / RESULTS)) == 4
    assert (taken / "plan.toml").read_bytes() == second.read_bytes()
    # The folder alone is enough, and so is a plan with its results beside it.
    elsewhere = taken.rename(tmp_path / "elsewhere")
    assert call(["study", "report", elsewhere, "--resamples", "50"]) == 0
    assert "4 of 4 trials" in (elsewhere / "report.md").read_text(encoding="utf-8")
    assert call(["study", "report", second, "--resamples", "50"]) == 0
    beside = (second.with_suffix("") / "report.md").read_text(encoding="utf-8")
    assert "3 of 4 trials" in beside
    # Its own plan can be run again in place.
    plan = elsewhere / "plan.toml"
    assert call(["study", "run", plan, "--out", elsewhere, "--device", "cpu"]) == 0


def test_photographs_that_every_model_gets_wrong_are_named_and_shown(
    tmp_path: Path,
) -> None:
    names = [f"photograph{place:05}" for place in range(24)]
    out = write_study(tmp_path / "study", CHANCES, photographs=names)
    plan = read_plan(out / "plan.toml")
    found = measure_study(plan, read_results(out / RESULTS), resamples=50)
    here = [one for one in found.series if one.protocol == "official" and one.rows]
    for one in here:
        for row in one.rows.values():
            for place, line in enumerate(row["answers"]):
                truth = place % 4
                # All get the fifth wrong, and the first model alone the sixth.
                wrong = place == 4 or (place == 5 and one is here[0])
                line[3] = [5 * (answer == (truth + wrong) % 4) for answer in range(4)]
    learned = [_learned(one) for one in here]
    assert find_missed(learned, "cell") == ([(names[4], "EOSINOPHIL")], 2)
    # Without learned weights a network is not asked; the majority class never is.
    assert find_missed(here, "cell") == ([], 0)


def _learned(one: Series) -> Series:
    changed = {"weights": "imagenet"}
    trials = {s: trial.model_copy(update=changed) for s, trial in one.trials.items()}
    return Series(one.protocol, trials, one.rows)


def test_images_are_shown_only_where_they_are_asked_for(smears: Path, tmp_path: Path) -> None:
    from wbczoo_datasets.synthetic import SYNTHETIC

    samples = list(SYNTHETIC.samples(smears))
    names = list(dict.fromkeys(str(one.photograph) for one in samples))
    learned = PLAN.replace('weights = "none"', 'weights = "imagenet"')
    never = {"official none": gain(-1.0), "official gru": gain(-1.0)}
    out = write_study(tmp_path / "study", never, learned, photographs=names)
    report = ["study", "report", out, "--resamples", "20"]
    assert call(report) == 0
    assert "data:image/jpeg" not in (out / "report.html").read_text(encoding="utf-8")
    assert names[0] in (out / "report.md").read_text(encoding="utf-8")
    assert call([*report, "--images", "--data", f"synthetic={smears}"]) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    shown = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    assert shown
    for one in shown:
        assert max(Image.open(io.BytesIO(base64.b64decode(one))).size) <= 160
    # Data that are not there take no report away.
    assert call([*report, "--images", "--data", f"synthetic={tmp_path / 'lost'}"]) == 0


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_a_report_takes_the_place_of_a_report_alone(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = write_study(tmp_path / "study", {}), tmp_path / "out"
    out.mkdir()
    (out / name).write_text("what somebody wrote")
    assert call(["study", "report", folder, "--out", out]) == 2
    assert f"{name} is there, and is no study's report" in capsys.readouterr().err
    assert [path.read_text() for path in out.iterdir()] == ["what somebody wrote"]


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [("empty", 2, "holds no plan.toml"), ("undone", 1, "No trial of the study made is done")],
)
def test_what_cannot_be_reported_is_told(
    name: str, code: int, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    if name == "undone":
        write_study(folder, {})
    assert call(["study", "report", folder]) == code
    assert reason in capsys.readouterr().err
