"""A review begins with a model's answers, goes on with them, and refuses those of another."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import drawn_fields
import pytest
import tiny_export
from commands import Completed

from wbczoo.errors import UsageError, WbczooError
from wbczoo.review.crops import SIDE, Crops
from wbczoo.review.log import Log
from wbczoo.review.prepare import ANSWERS, Prepared, prepare
from wbczoo.review.serve import Wanted, bind, open_review, run
from wbczoo.runtime.session import Session

Run = Callable[..., Completed]


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [str(path) for path in drawn_fields.write_fields(tmp_path_factory.mktemp("x") / "f")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_fields.write_model(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture
def begin(tmp_path: Path, model: Path) -> Callable[..., Prepared]:
    def run(images: list[str], by: Path = model, **options: object) -> Prepared:
        opened = partial(Session, by, device="cpu")
        return prepare(tmp_path, Log(tmp_path), images, by, opened, **options)  # type: ignore[arg-type]

    return run


def test_a_review_begins_and_goes_on_without_the_model(
    begin: Callable[..., Prepared], fields: list[str], tmp_path: Path, model: Path
) -> None:
    told: list[tuple[str, int, int | None]] = []
    found = begin(fields, advance=lambda *how: told.append(how))
    assert told[-1] == ("Cutting out cells", len(fields), len(fields))
    errors = [each.path for each in found.photographs if each.error]
    assert errors == [fields[list(drawn_fields.FIELDS).index("02-damaged.png")]]
    by_flag = [cell for cell in found.cells if "no-cell" in cell.flags]
    assert [found.photographs[cell.photograph].path for cell in by_flag] == [fields[1]]
    assert by_flag[0].box == (0, 0, 120, 90)
    crops = Crops(tmp_path)
    sizes = {crops.read(cell)[:2] for cell in range(len(found.cells))}
    crops.close()
    assert sizes == {b"\xff\xd8"}  # each a JPEG file of its own
    assert SIDE == 128

    def no_model() -> Session:
        raise AssertionError

    (tmp_path / "crops.bin").unlink()
    (tmp_path / "crops.json").unlink()
    again = prepare(tmp_path, Log(tmp_path), fields, model, no_model)
    assert again == found
    assert (tmp_path / "crops.json").exists()


def test_another_model_other_images_and_other_answers_are_refused(
    begin: Callable[..., Prepared], fields: list[str], tmp_path: Path
) -> None:
    begin(fields)
    other = drawn_fields.write_model(tmp_path / "other" / "model.onnx", company=True)
    with pytest.raises(UsageError, match="another model"):
        begin(fields, other)
    with pytest.raises(UsageError, match="not among the images"):
        begin(fields[1:])
    with pytest.raises(UsageError, match="the task cell"):
        begin(fields, task_name="nucleus")
    rows = (tmp_path / ANSWERS).read_text()
    (tmp_path / ANSWERS).write_text(rows.replace("0.", "1.", 1))
    with pytest.raises(WbczooError, match="not what the review began with"):
        begin(fields)


def test_images_are_asked_whole_of_a_model_that_reads_them_so(
    fields: list[str], tmp_path: Path
) -> None:
    path = tiny_export.write_model(tmp_path / "model.onnx")
    found = open_review(tmp_path / "new", fields, path, partial(Session, path), Wanted())
    assert [cell.box[:2] for cell in found.cells] == [(0, 0)] * 5
    assert found.prepared.begun["cells"] is None


def test_labels_from_elsewhere_need_a_name(fields: list[str], tmp_path: Path, model: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text("[]")
    with pytest.raises(UsageError, match="--reviewer"):
        open_review(tmp_path / "new", fields, model, partial(Session, model),
                    Wanted(labels_from=path))  # fmt: skip


def test_a_port_that_is_taken_is_told_and_that_of_before_is_not_insisted_on() -> None:
    with bind("127.0.0.1", None, None) as held:
        port = held.getsockname()[1]
        held.listen()
        with pytest.raises(UsageError, match="--port"):
            bind("127.0.0.1", port, None)
        with bind("127.0.0.1", None, port) as other:
            assert other.getsockname()[1] != port


def test_the_command_refuses_what_cannot_be(
    wbczoo: Run, wbczoo_process: Run, fields: list[str], tmp_path: Path, model: Path
) -> None:
    assert "--out" in wbczoo("review", *fields, "--model", model, expect=2).stderr
    inside = Path(fields[0]).parent
    told = wbczoo("review", *fields, "--model", model, "--out", inside, expect=2).stderr
    assert "name another --out" in told
    out = tmp_path / "review"
    open_review(out, fields, model, partial(Session, model), Wanted())
    # Its server is of a whole process: threads of it outlive the command.
    told = wbczoo_process(
        "review", *fields[1:], "--model", model, "--out", out, "--no-browser", expect=2
    )
    assert "not among the images" in told.stderr
    assert told.stdout == ""  # no address of what is not to be reviewed
    assert "holds no review.jsonl" in wbczoo("review", "--check", tmp_path, expect=2).stderr


def test_check_is_a_command(wbczoo: Run, tmp_path: Path) -> None:
    from drawn_review import open_drawn

    review = open_drawn(tmp_path / "review", photographs=1)
    photographs = [each.path for each in review.prepared.photographs]
    whole = wbczoo("review", "--check", tmp_path / "review", *photographs).stdout
    assert "1 line," in whole
    assert "as it was written" in whole
    log = tmp_path / "review" / "review.jsonl"
    entry = json.loads(log.read_text())
    log.write_text(json.dumps({**entry, "task": "nucleus"}) + "\n")
    changed = wbczoo("review", "--check", tmp_path / "review", expect=1).stdout
    assert "line 1:" in changed
    assert changed.endswith("2 faults\n")


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"task": "kidney"}, "has no task 'kidney'"),
        ({"classes": ("ab=smudge",)}, "a key is one of"),
        ({"ranges": "class,low,high\nkidney,1,2\n"}, "names the class 'kidney'"),
        ({"labels_from": "1"}, "cannot be read as COCO's"),
        ({"labels_from": ["kidney", "{}"]}, "has the label kidney; there are .*--classes"),
        ({"labels_from": ["neutrophil", "elsewhere/{}x"]}, "of one of these photographs"),
        ({"labels_from": "[]", "reviewer": None}, "--reviewer"),
        ({"second": "A. Anna"}, "another person"),
    ],
)
def test_what_refuses_a_review_at_once_is_told_in_place_of_an_address(
    asked: dict[str, Any], sentence: str, fields: list[str], model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("uvicorn", reason="the extra `review` is not installed")
    asked = {"reviewer": "A. Anna", **asked}
    for name in {"ranges", "labels_from"} & asked.keys():
        told = asked[name]
        if isinstance(told, list):
            label, image = told
            document = {
                "images": [{"id": 1, "file_name": image.format(Path(fields[0]).name)}],
                "categories": [{"id": 1, "name": label}],
                "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9]}],
            }
            told = json.dumps(document)
        asked[name] = tmp_path / name
        asked[name].write_text(told)
    announced: list[object] = []
    with pytest.raises(UsageError, match=sentence):
        run(tmp_path / "new", fields, model, partial(Session, model, device="cpu"),
            Wanted(**asked), announce=announced.append)  # fmt: skip
    assert announced == []
