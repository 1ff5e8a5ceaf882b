"""What a published report states comes in here as data: its tables, and claims with their rules."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from wbczoo.specs import Option

Share = Annotated[float, Field(ge=0, le=1)]
Fields = dict[str, Option]


class Strict(BaseModel):
    """A part of a plan: no other fields than it names, and none of them changes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PublishedRow(Strict):
    """One line of a published table: a model, a task, and an accuracy for each column.

    `of` names the fields of a trial that this line adds to the table's.
    """

    model: str
    task: str
    of: Fields
    values: tuple[Share, ...]


class PublishedTable(Strict):
    """A table of published accuracies, held against the trials that repeat it.

    A value's trial has the fields of the table (`of`), of its row and of its column.
    """

    title: str
    protocol: str
    of: Fields = Field(default_factory=dict)
    columns: dict[str, Fields]
    rows: tuple[PublishedRow, ...]

    @model_validator(mode="after")
    def _fills_each_row(self) -> Self:
        for row in self.rows:
            if len(row.values) != len(self.columns):
                raise ValueError(
                    f"the row {row.model!r} of {self.title!r} has {len(row.values)} values for "
                    f"{len(self.columns)} columns"
                )
        return self

    @property
    def fields(self) -> set[str]:
        """The fields of trials that it names."""
        of = (self.of, *self.columns.values(), *(row.of for row in self.rows))
        return {name for fields in of for name in fields}

    @property
    def tasks(self) -> tuple[str, ...]:
        """The task of each row."""
        return tuple(row.task for row in self.rows)


class Claim(Strict):
    """A sentence of a report, and the trials that decide it.

    The rules are in `wbczoo.study.report.claims`.

    Of the rule `exceeds`: in each of `pairs` the first is said to be better than the second, in
    each protocol and task. Of `reaches`: the trials `of` are said to have the accuracies
    `targets`, in each protocol; they are shown under the protocols of `also`, which decide
    nothing. Of `keeps`: the trials `of` are said to have in each protocol the accuracy that they
    have under the protocol `under`.
    """

    says: str
    source: str = ""
    rule: Literal["exceeds", "reaches", "keeps"]
    protocols: Annotated[tuple[str, ...], Field(min_length=1)]
    also: tuple[str, ...] = ()
    of: Fields = Field(default_factory=dict)
    pairs: tuple[tuple[Fields, Fields], ...] = ()
    targets: dict[str, Share] = Field(default_factory=dict)
    under: str | None = None

    @model_validator(mode="after")
    def _has_what_its_rule_reads(self) -> Self:
        wanted = {"exceeds": "pairs", "reaches": "targets", "keeps": "under"}[self.rule]
        if not getattr(self, wanted):
            raise ValueError(f"the claim {self.says!r} by the rule {self.rule!r} has no `{wanted}`")
        return self

    @property
    def named(self) -> tuple[str, ...]:
        """All the protocols that it names."""
        return (*self.protocols, *self.also, *([self.under] if self.under else []))

    @property
    def fields(self) -> set[str]:
        """The fields of trials that it names."""
        return {name for of in (self.of, *itertools.chain(*self.pairs)) for name in of}
