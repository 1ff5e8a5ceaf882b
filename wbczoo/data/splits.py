"""Protocols decide here which rows train, validate and test: by group, stratified, seeded.

Every draw orders groups by a hash of seed and name. So a split depends on neither the order of
files nor the version of a random generator.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from wbczoo.config import TrainConfig
from wbczoo.data.choice import tell_origins
from wbczoo.data.plan import Plan, deal
from wbczoo.data.samples import LEFT_OUT, Rows
from wbczoo.errors import UsageError, WbczooError
from wbczoo.tasks import Task

VALIDATION_SHARE = 0.15
REPORT_SHARE = 0.1


def plan_split(rows: Rows, tasks: Sequence[Task], config: TrainConfig) -> Plan:
    """Split a data set's rows by the config's protocol (the design, section 6).

    Rows that every task leaves out serve nobody and are counted.

    Raises:
        UsageError: if the data set does not allow the protocol, the part or the fold.
        WbczooError: if a role that the protocol needs stays empty.
    """
    targets = rows.targets(tasks)
    usable = [row for row in range(len(rows)) if any(t[row] != LEFT_OUT for t in targets.values())]
    if not usable:
        found = ", ".join(sorted({sample.label for sample in rows.samples})[:8])
        names = ", ".join(task.name for task in tasks)
        raise WbczooError(
            f"{rows.source.root}: no image has a class of {names}; its labels are {found}."
            if len(rows)
            else f"{rows.source.root}: every image was refused, so nothing is left to split."
        )
    draw = _Draw(rows, config)
    plan = {
        "report": draw.report,
        "official": draw.official,
        "grouped": draw.grouped,
        "external": draw.external,
        "laboratory": draw.laboratory,
    }[config.protocol](usable)
    plan.counts["left_out"] = len(rows) - len(usable)
    if not plan.train:
        raise WbczooError(f"{rows.source.root}: the protocol leaves no image to train on.")
    return plan


class _Draw:
    """One protocol's draw from usable rows.

    Of several data sets the photographs are drawn, not the views that were made from them; one
    that has no part of the name that is asked for shows its own.
    """

    def __init__(self, rows: Rows, config: TrainConfig) -> None:
        self.rows = rows
        self.config = config
        self.parts = {sample.part for sample in rows.samples}
        main = "photographs" if config.datasets else "augmented"
        self.main = main if main in self.parts else min(self.parts)
        self.parts_of = defaultdict[str, set[str]](set)
        for laboratory, sample in zip(rows.laboratories, rows.samples, strict=True):
            self.parts_of[laboratory].add(sample.part)

    def report(self, usable: list[int]) -> Plan:
        """All files of the main part at random, 80/10/10, photographs notwithstanding: LEAKY."""
        if self.config.train_part is not None:
            raise UsageError(
                "`report` draws files, not photographs, so it has no --train-part; leave it out, "
                "or use another --protocol."
            )
        pool = self._of_part(usable, self._part(self.main))
        pool = [row for row in pool if self.rows.samples[row].split != "validation"]
        # By content, not by name: the same files give the same split in a zip and in a folder.
        keys = {row: self._key("file", self.rows.hashes[row]) for row in pool}
        pool.sort(key=lambda row: (keys[row], self.rows.samples[row].path))
        share = math.ceil(REPORT_SHARE * len(pool))
        test, validation, train = pool[:share], pool[share : 2 * share], pool[2 * share :]
        return self._plan(self._limited(train), validation, test)

    def official(self, usable: list[int]) -> Plan:
        """The published training half, less what shows a test photograph, to the published test."""
        part = self._part(self.main)
        split = {row: self.rows.samples[row].split for row in usable}
        test = [row for row in self._of_part(usable, part) if split[row] == "test"]
        # Of several data sets those without a published split train and validate.
        halved = {
            lab for row, lab in enumerate(self.rows.laboratories) if self.rows.samples[row].split
        }
        whole = set(self.parts_of) - halved if self.config.datasets else set()
        train = [
            row
            for row in self._of_part(usable, self.main)
            if split[row] == "train" or self.rows.laboratories[row] in whole
        ]
        if not train or not test:
            raise UsageError(
                f"{self.rows.source.root} has no published {'test' if train else 'training'} half"
                f" in the part {part!r}, which the protocol `official` needs. Put the images into "
                "train/CLASS and test/CLASS, or use --protocol grouped."
            )
        # A photograph that shows a test photograph's field gives its answer away.
        tested = self._groups(row for row in usable if split[row] == "test")
        clean = [row for row in train if self.rows.groups[row] not in tested]
        published = [row for row in self._of_part(usable, self.main) if split[row] == "validation"]
        held = [row for row in published if self.rows.groups[row] not in tested]
        if held:
            held_groups = self._groups(held)
            kept = [row for row in clean if self.rows.groups[row] not in held_groups]
            plan = self._plan(self._limited(kept), held, test)
            self._count(plan, "training", "validation", set(clean) - set(kept))
        else:
            plan = self._held_out(clean, test)
        plan = self._trained_on(plan, usable)
        if published:
            self._count(plan, "validation", "test", set(published) - set(held))
        self._count(plan, "training", "test", set(train) - set(clean))
        return plan

    def grouped(self, usable: list[int]) -> Plan:
        """Folds of whole groups; one fold tests, the others train and validate."""
        if self.rows.unit == "unknown":
            raise UsageError(
                f"{self.rows.source.root}: nobody knows which files show the same photograph, so "
                f"`grouped` cannot keep them together. {tell_origins(self.config.parts.values())}"
            )
        if self.config.fold is None or self.config.fold >= self.config.folds:
            raise UsageError(
                f"`grouped` wants --fold 0 to {self.config.folds - 1}, or --fold all; "
                f"it was given {self.config.fold}."
            )
        part = self._part("photographs" if "photographs" in self.parts else self.main)
        scored = self._of_part(usable, part)
        fold_of = self._folds(scored)
        test = [row for row in scored if fold_of[self.rows.groups[row]] == self.config.fold]
        rest = [row for row in scored if fold_of[self.rows.groups[row]] != self.config.fold]
        return self._trained_on(self._held_out(rest, test), usable)

    def laboratory(self, usable: list[int]) -> Plan:
        """One laboratory tests, and whatever shows its photographs or bytes does nothing else."""
        out, names = self.config.hold_out, sorted(self.parts_of)
        if len(names) < 2 or out not in names:
            raise UsageError(
                f"`laboratory` holds one of several laboratories out: {', '.join(names)} "
                f"{'are' if len(names) > 1 else 'is'} here, and --hold-out was given {out}. Name "
                "the data by --data NAME=PATH, repeated, and one of them, or all, by --hold-out."
            )
        theirs = {row for row in usable if self.rows.laboratories[row] == out}
        groups = self._groups(theirs)
        pool = self._of_part(usable, self._part(self.main))
        rest = [row for row in pool if row not in theirs]
        clean = [row for row in rest if self.rows.groups[row] not in groups]
        plan = self._held_out(clean, [row for row in pool if row in theirs])
        plan = self._trained_on(
            plan, [row for row in usable if self.rows.groups[row] not in groups]
        )
        self._count(plan, "training", "test", set(rest) - set(clean))
        return plan

    def external(self, usable: list[int]) -> Plan:
        """Every group of the main part trains or validates; the test is another data set."""
        pool = self._of_part(usable, self._part(self.main))
        return self._trained_on(self._held_out(pool, []), usable)

    def _trained_on(self, plan: Plan, usable: list[int]) -> Plan:
        """The plan with what `train_part` holds of the training photographs; no other role moves.

        Only files of those very photographs: a group has others, which may show something else.
        """
        part = self.config.train_part
        if part is None:
            return plan
        if part not in self.parts:
            raise UsageError(self._no_part(part))
        seen = {self._photograph(row) for row in plan.train}
        chosen = [row for row in self._of_part(usable, part) if self._photograph(row) in seen]
        return replace(self._plan(chosen, plan.validation, plan.test), counts=plan.counts)

    def _held_out(self, pool: list[int], test: Sequence[int]) -> Plan:
        """Let 15 % of the groups of each label validate and the others train."""
        held: set[str] = set()
        for groups in self._by_label(pool, "validation").values():
            count = round(VALIDATION_SHARE * len(groups))
            held.update(groups[: max(count, 1) if len(groups) > 1 else 0])
        train = [row for row in pool if self.rows.groups[row] not in held]
        validation = [row for row in pool if self.rows.groups[row] in held]
        return self._plan(self._limited(train), validation, test)

    def _plan(self, train: list[int], validation: Sequence[int], test: Sequence[int]) -> Plan:
        seen = self._groups(train) | self._groups(validation)
        return Plan(
            protocol=self.config.protocol,
            part=self.rows.samples[test[0]].part if test else self.main,
            fold=self.config.fold if self.config.protocol == "grouped" else None,
            train=tuple(sorted(train)),
            validation=tuple(sorted(validation)),
            test=tuple(sorted(test)),
            leaked=sum(self.rows.groups[row] in seen for row in test),
            held_out=self.config.hold_out if self.config.protocol == "laboratory" else None,
        )

    def _folds(self, pool: list[int]) -> dict[str, int]:
        """Group -> fold, so that each fold has its share of each label's photographs."""
        contents: dict[str, Counter[str]] = defaultdict(Counter)
        for row in pool:
            contents[self.rows.groups[row]][self.rows.strata[row]] += 1
        if len(contents) < self.config.folds:
            raise UsageError(
                f"{self.rows.source.root} has {len(contents)} groups, too few for "
                f"{self.config.folds} folds."
            )
        return deal(contents, self.config.folds, lambda name: self._key("fold", name))

    def _limited(self, train: list[int]) -> list[int]:
        """At most `limit_photographs` of the training photographs, labels in turn."""
        limit = self.config.limit_photographs
        if limit is None:
            return train
        queues = list(self._by_label(train, "limit", by_photograph=True).values())
        turns = itertools.chain.from_iterable(itertools.zip_longest(*queues))
        kept = set(itertools.islice((name for name in turns if name is not None), limit))
        return [row for row in train if self._photograph(row) in kept]

    def _by_label(
        self, pool: Iterable[int], purpose: str, by_photograph: bool = False
    ) -> dict[str, list[str]]:
        """For each raw label its groups in drawn order; a mixed group goes by its majority."""
        votes: dict[str, Counter[str]] = defaultdict(Counter)
        for row in pool:
            name = self._photograph(row) if by_photograph else self.rows.groups[row]
            votes[name][self.rows.strata[row]] += 1
        strata: dict[str, list[str]] = defaultdict(list)
        for name, labels in votes.items():
            strata[min(labels, key=lambda label: (-labels[label], label))].append(name)
        return {
            label: sorted(strata[label], key=lambda name: self._key(purpose, name))
            for label in sorted(strata)
        }

    def _photograph(self, row: int) -> str:
        return self.rows.samples[row].photograph or self.rows.groups[row]

    def _key(self, purpose: str, name: str) -> bytes:
        return hashlib.sha256(f"{self.config.seed}/{purpose}/{name}".encode()).digest()

    def _count(self, plan: Plan, taken: str, met: str, gone: set[int]) -> None:
        """Write down what was taken out of one role because it shows what another one does."""
        plan.counts[f"{taken}_files_in_{met}_groups"] = len(gone)
        plan.counts[f"{taken}_photographs_in_{met}_groups"] = len(set(map(self._photograph, gone)))

    def _groups(self, pool: Iterable[int]) -> set[str]:
        return {self.rows.groups[row] for row in pool}

    def _of_part(self, pool: Iterable[int], part: str) -> list[int]:
        def own(row: int) -> str:
            parts = self.parts_of[self.rows.laboratories[row]]
            return part if part in parts else self.main if self.main in parts else min(parts)

        return [row for row in pool if self.rows.samples[row].part == own(row)]

    def _part(self, default: str) -> str:
        part = self.config.part or default
        if part not in self.parts:
            raise UsageError(self._no_part(part))
        return part

    def _no_part(self, part: str) -> str:
        names = ", ".join(sorted(self.parts))
        return f"{self.rows.source.root} has no part {part!r}; it has {names}."
