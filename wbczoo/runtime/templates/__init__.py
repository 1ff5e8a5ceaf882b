"""Results become HTML pages here: one file each, which runs no script and fetches nothing."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from wbczoo import __version__
from wbczoo.text import format_limits, format_percent

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def render(template: str, **values: object) -> str:
    """The page of a template beside this file, whose values are escaped.

    Args:
        template: its file's name; it extends `base.html`.
        values: what its variables stand for; one that it lacks is an error.
    """
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals["version"] = __version__
    made.filters |= {
        "percent": format_percent,
        "limits": format_limits,
        "marked": _mark_code,
        "base64": lambda content: b64encode(content).decode(),
    }
    return made


def _mark_code(text: str) -> Markup:
    """A sentence in which what stands in backticks is code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
