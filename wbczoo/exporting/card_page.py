"""A card for a reader, `card.md`: what a model is, how well it does, what it is not for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wbczoo.exporting.adaptation_page import adaptation_lines
from wbczoo.exporting.agreement import Bound, least_share
from wbczoo.exporting.doubts_page import NO_NOVELTY, limit_lines, set_lines
from wbczoo.exporting.front_matter import write_front_matter
from wbczoo.text import format_class, format_figure, format_size, format_sources, name_source

ALL = "all"  # the fold of what was measured over all of them


def to_markdown(card: dict[str, Any]) -> str:
    """`card.md`: the same for a reader."""
    lines = [write_front_matter(card), ""]
    lines += [f"# {card['name']}", "", "White blood cell classifier, exported by wbczoo.", ""]
    lines += ["## What it answers", ""]
    lines += [f"- **{task}**: {', '.join(classes)}" for task, classes in card["tasks"].items()]
    lines += ["", "## What it was trained on", "", *_data_lines(card)]
    if adaptation := card.get("adaptation"):
        lines += ["", "## What it was adapted to", "", *adaptation_lines(adaptation)]
    lines += [
        "",
        "## How well it does",
        "",
        *_figures(card["evaluations"], ensemble="members" in card),
    ]
    if card["limits"]:
        lines += ["", "## When it does not know", "", *limit_lines(card["limits"])]
    elif card["trained"]:
        lines += ["", "## When it does not know", "", NO_NOVELTY]
    if promised := card.get("sets"):
        dataset = card["adaptation"]["dataset"] if card.get("adaptation") else None
        lines += ["", "## What it promises", "", *set_lines(promised, dataset)]
    lines += ["", "## What it is for", "", card["intended_use"]]
    lines += ["", "## What it is not for", "", card["not_for"]]
    lines += ["", "## The file", "", *_file_lines(card)]
    lines += ["", "## How fast it is", "", *_speed_lines(card)]
    lines += [
        "",
        "## Licences",
        "",
        *(f"- {what}: {licence}" for what, licence in card["licences"].items()),
        "",
    ]
    return "\n".join(lines)


def _flag_lines(card: dict[str, Any]) -> list[str]:
    if not card["limits"]:
        return []
    return [
        "- output `flags`, bool (batch, 3): unknown, unsure, contradicted, by the limits above; "
        "the inputs `unknown_above`, float32 (), and `unsure_below`, float32 "
        f"({len(card['tasks'])},), change them and need not be given",
    ]


def _crop_lines(card: dict[str, Any]) -> list[str]:
    crop, finder = card["preprocessing"]["crop"], card.get("finder_sha256")
    if crop == "none":
        return []
    lines = [f"- it reads no whole photograph but the crop `{crop}`, which `wbczoo.images` makes"]
    if finder:
        lines[0] += f" of the white cell that a finder gives (SHA-256 `{finder}`)"
    lines[0] += "; docs/deployment.md has ten lines that call it before the graph"
    return lines


def _file_lines(card: dict[str, Any]) -> list[str]:
    parity, embedded, maps = card["parity"], card["embedded"], card.get("maps")
    height, width = card["preprocessing"]["size"]
    reads = f"(batch, 3, {height}, {width})"
    if embedded:
        size = embedded["camera"] or ("height", "width")
        reads = f"(batch, {size[0]}, {size[1]}, 3), as the camera gives them"
        reads += ", but upright: turned as EXIF's tag 274 says"
    inside = "the resize, scaling" if embedded else "scaling"
    lines = [
        f"- input `images`: uint8 RGB {reads}; {inside} and normalisation are inside the graph",
        *_crop_lines(card),
        "- outputs: "
        + ", ".join(f"`{task}_logits`, `{task}_probabilities`" for task in card["tasks"])
        + (", `novelty`" if card["limits"] else "")
        + "".join(f", `{task}_map`, `{task}_branch`" for task in card["tasks"] if maps),
        *_flag_lines(card),
        f"- {card['precision']}, {format_size(card['bytes'])}, ONNX opset {card['opset']}",
        f"- in fp32 it differs from PyTorch by at most {parity['difference']:.2g} in a logit on "
        f"{parity['images']} {parity['source']} (bound {parity['bound']:.2g}; batches of "
        f"{parity['batches']})",
    ]
    if embedded:
        lines.append(
            f"- its resize differs from Pillow's by at most {embedded['largest_difference']} of "
            f"255 steps on {embedded['images']} {embedded['source']}"
        )
    if maps:
        down, across = maps["positions"]
        lines.append(
            f"- a map says what each of {down} by {across} positions adds to a logit, and the "
            f"branch what the rest adds; they sum up to it within {maps['difference']:.2g} (bound "
            f"{maps['bound']:.2g})"
        )
    if scripts := card.get("wsinfer"):
        lines.append(
            "- `wsinfer/` has TorchScript of each task, in fp32, for patches of "
            f"{scripts['um_per_pixel']:g} micrometres per pixel; it differs from PyTorch by at "
            f"most {scripts['difference']:.2g} in a logit (bound {scripts['bound']:.2g})"
        )
    if statistics := card.get("statistics"):
        lines.append(
            f"- its batch norms answer by the statistics of {statistics['images']} images without "
            "labels, of which each class that it answered counts alike; temperatures and limits "
            "are those of training, and what was measured before is of the model before"
        )
    lines.append(f"- SHA-256 `{card['files']['model.onnx']}`")
    if found := card["agreement"]:
        lines += [
            "",
            f"In {card['precision']} are {found['layers']}. Against fp32 on {found['images']} "
            f"{found['source']}, on the CPU (bound: {Bound(**found['bound'])}):",
            "",
            "| task | equal answers | 95 % interval | largest probability difference |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {task} | {each['equal']} of {found['images']} | at least {100 * least:.1f} % | "
            f"{each['difference']:.2g} |"
            for task, each in found["tasks"].items()
            for least in [least_share(each["equal"], found["images"])]
        ]
        if "novelty" in found:
            same = f"{found['novelty']} of {found['images']}"
            lines += ["", f"By their novelty {same} lie on the same side of its limit."]
        lines += ["", "What was tried, with its speed relative to fp32 in the same process:", ""]
        lines += [f"- {_trial(trial)}" for trial in found["tried"]]
    return lines


def _trial(trial: dict[str, Any]) -> str:
    told = [f"{trial['layers']}: {trial['speed']:.2f} times as fast"]
    for found in (trial["training"], trial["agreement"]):
        if found:
            tasks = ", ".join(
                f"{task} {each['equal']} of {found['images']} equal, within "
                f"{_difference(each['difference'])}"
                for task, each in found["tasks"].items()
            )
            told.append(f"{tasks} ({found['source']})")
    return "; ".join(told)


def _difference(value: float | None) -> str:
    return "no number" if value is None else f"{value:.2g}"


def _speed_lines(card: dict[str, Any]) -> list[str]:
    speed = card["speed"]
    if speed is None:
        return ["It was not measured."]
    shape = ", ".join(map(str, speed["images"]))
    return [
        f"{speed['images_per_second']:g} images/s in batches of {speed['batch']}, and "
        f"{speed['latency_ms']:g} ms for one image, on the CPU: {speed['processor']}, "
        f"{speed['cores']} cores, {speed['threads']} threads, onnxruntime {speed['onnxruntime']}. "
        f"Measured at export on images ({shape}): {speed['how']}.",
    ]


def _data_lines(card: dict[str, Any]) -> list[str]:
    data = card["data"]
    lines = [*_member_lines(card["members"])] if "members" in card else []
    if (told := card.get("trained_on")) is not None:
        # What a person wrote is quoted, whatever it holds.
        what = " ".join(told.split()) or "nothing"
        return [
            "It was trained elsewhere, not by wbczoo. Who saved it said of what it was trained on:",
            "",
            f"> {what}",
            "",
            "None of that was measured here, nor is it known which photographs it has seen.",
        ]
    if not card["trained"] or data is None:
        some = any(member["trained"] for member in card.get("members", ()))
        told = (
            "Of the other members the weights are initial ones."
            if some
            else ("Nothing: the weights are initial ones.")
        )
        return [*lines, told]
    if card["leaky"]:
        of = name_source(data["unit"])
        lines += [f"**LEAKY**: files of the same {of} stand on both sides of its split.", ""]
    fold = "" if data["fold"] is None else f", fold {data['fold']}"
    out = f", {data['held_out']} held out" if data.get("held_out") else ""
    lines.append(f"Data set {data['dataset']}, protocol {card['protocol']}{fold}{out}:")
    lines.append("")
    for role in ("train", "validation", "test"):
        counts = data[role]
        lines.append(f"- {role}: {format_sources(counts, data['unit'])} ({counts['files']} files)")
    return [
        *lines,
        *_laboratory_lines(data.get("laboratories", {})),
        *_class_lines(data.get("classes", {}), data.get("labels", {})),
    ]


def _member_lines(members: list[dict[str, Any]]) -> Iterator[str]:
    yield "The probabilities are the mean of those of its members, each calibrated by itself:"
    yield ""
    for member in members:
        told = f", trained elsewhere: {member['trained_on']}" if "trained_on" in member else ""
        yield f"- {member['name']}, weights `{member['weights_sha256']}`{told}"
    yield ""
    if len({member["split_sha256"] for member in members}) > 1:
        yield "They were trained on different splits; what follows is the first one's."
        yield ""


def _laboratory_lines(laboratories: dict[str, dict[str, dict[str, int]]]) -> list[str]:
    lines = [
        "",
        "| laboratory | training files | validation files | test files |",
        "|---|---|---|---|",
    ]
    for name, of in laboratories.items():
        files_of = " | ".join(str(of[role]["files"]) for role in ("train", "validation", "test"))
        lines.append(f"| {name} | {files_of} |")
    return lines if laboratories else []


def _class_lines(
    tasks: dict[str, dict[str, dict[str, int]]], labels: dict[str, dict[str, list[str]]]
) -> list[str]:
    lines = ["", "| task | class | training files | validation files | test files |"]
    lines.append("|---|---|---|---|---|")
    for task, classes in tasks.items():
        for name, files_of in classes.items():
            trained = files_of["train"] or "**none: it was never learned**"
            name = format_class(name, labels.get(task, {}).get(name, ())).replace("|", r"\|")
            lines.append(
                f"| {task} | {name} | {trained} | {files_of['validation']} | {files_of['test']} |"
            )
    return lines if tasks else []


def _figures(evaluations: list[dict[str, Any]], *, ensemble: bool) -> list[str]:
    if not evaluations:
        return ["It was not evaluated."]
    lines = [
        "| protocol | part | tested on | files | task | accuracy | macro-F1 |",
        "|---|---|---|---|---|---|---|",
    ]
    for found in evaluations:
        word = "LEAKY " if found["leaky"] else ""
        pooled = ", all folds pooled" if found.get("fold") == ALL else ""
        of = format_sources(found, found["unit"])
        tested = f"{found['part']} | {of} | {found['files']}"
        for task, figures in found["tasks"].items():
            lines.append(
                f"| {word}{found['protocol']}{pooled} | {tested} "
                f"| {task} | {format_figure(figures['accuracy'])} "
                f"| {format_figure(figures['macro_f1'])} |"
            )
    if pooled_all := [found for found in evaluations if found.get("fold") == ALL]:
        of = name_source(pooled_all[0]["unit"])
        lines += [
            "",
            f"All folds pooled: each {of} was answered by the model that had not seen it. "
            + (
                f"This is the mean of those models, which was not measured on these {of}s, "
                "for they have seen them."
                if ensemble
                else f"This is one of those models; its own figures are of fewer {of}s."
            ),
        ]
    lines += ["", f"Intervals: {evaluations[0]['interval']}."]
    return lines
