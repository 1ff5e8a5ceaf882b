"""What an export promises of each class, fitted once more on its validation photographs.

    python tools/fit_sets.py exports/leukocyte-small --data bccd=blood-cells.zip \
        --data pbc=pbc-sample.zip --data raabin=raabin-sample.zip

for exports of before, whose training left no such fit: the split is drawn again and known by its
hash, the export answers the validation photographs, and the promise is written into its graph's
metadata and its card. Nothing else changes, but for the SHA-256 and size that the card tells.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import onnx

from wbczoo import files
from wbczoo.config import TrainConfig
from wbczoo.data.cache import PixelCache
from wbczoo.data.choice import choose_data
from wbczoo.data.plan import digest_of
from wbczoo.data.prepared import fill, read_dataset
from wbczoo.data.splits import plan_split
from wbczoo.evaluation.answer import predict_with_session
from wbczoo.exporting.adapting.graph import write_metadata
from wbczoo.exporting.card_page import to_markdown
from wbczoo.progress import tell
from wbczoo.runtime import Session
from wbczoo.runtime.card import Card
from wbczoo.runtime.folder import find_model
from wbczoo.runtime.sets import Sets, fit_sets


def fit(session: Session, data: dict[str, str] | str) -> Sets:
    """What can be promised, by the export's own validation photographs."""
    train = session.config.train
    if train is None:
        raise SystemExit(f"{session.path} was not trained by wbczoo.")
    alone = next(iter(train.parts)) if isinstance(data, str) else "folder"
    parts, places = choose_data(data, alone, kept=tuple(train.parts.values()))
    rows = read_dataset(TrainConfig(**parts), places, tell)
    plan = plan_split(rows, session.tasks, train)
    if digest_of(rows, plan) != session.config.split_sha256:
        raise SystemExit(f"These are not the data that {session.path} was trained on.")
    cache = PixelCache(session.preprocessing)
    refused = fill(cache, rows, plan.validation, tell)
    wanted = [row for row in plan.validation if rows.samples[row].path not in refused]
    likely = predict_with_session(session)(cache, cache.rows([rows.hashes[row] for row in wanted]))
    targets = {name: values[wanted] for name, values in rows.targets(session.tasks).items()}
    groups = [(rows.laboratories[row], rows.groups[row]) for row in wanted]
    return fit_sets(session.tasks, likely, targets, groups)


def write(path: Path, sets: Sets) -> None:
    """Put the promise into a graph and its card, each aside and renamed."""
    proto = onnx.load(path)
    known = {each.key: each.value for each in proto.metadata_props}
    onnx.helper.set_model_props(proto, {**known, "wbczoo.sets": write_metadata(sets.to_dict())})
    aside = path.with_suffix(".aside")
    onnx.save(proto, aside)
    aside.replace(path)
    card = Card.beside(path)
    if card is not None:
        document = {**card.document, "sets": sets.to_dict(), "bytes": path.stat().st_size}
        document["files"] = {**document["files"], path.name: files.sha256_of(path)}
        files.write_json(card.path, document)
        files.write_text(card.path.with_suffix(".md"), to_markdown(document))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("export")
    parser.add_argument("--data", action="append", required=True, metavar="[NAME=]PATH")
    given = parser.parse_args()
    named = dict(each.split("=", 1) for each in given.data if "=" in each)
    path = find_model(given.export)
    session = Session(path, device="cpu")
    sets = fit(session, named or given.data[0])
    write(path, sets)
    for coverage in ("0.9", "0.95"):
        for sentence in sets.not_promised(session.tasks, coverage):
            tell(sentence)


if __name__ == "__main__":
    main()
