"""The command line: each verb is a module that is imported when it is called for.

A command parses, calls one function, and prints: results on stdout, the rest on stderr.
"""

from __future__ import annotations

import errno
import gc
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from wbczoo import __version__
from wbczoo.cli.results import alone_on_stdout
from wbczoo.errors import WbczooError
from wbczoo.machine import how_to_install

# pydantic would look through every installed distribution for plugins, before the first answer.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")

# Verb -> its one-line help, so that `wbczoo --help` imports none of them.
VERBS = {
    "list": "Show every backbone, sequence branch and data set.",
    "build": "Check and describe a composition.",
    "weights": "Turn a checkpoint into a file that --weights takes.",
    "train": "Train a composition under a protocol.",
    "evaluate": "Measure a run or an export on photographs it never saw.",
    "export": "Write a run as one ONNX file with its card.",
    "adapt": "Refit an export to labelled cells of one's own laboratory.",
    "verify": "Replay an export's frozen example, without torch.",
    "push": "Upload an export to a model hub.",
    "pull": "Fetch an export from a model hub, and check it.",
    "locate": "Find the white cells of images, without a model.",
    "predict": "Answer images with an export, without torch.",
    "merge": "Join the rows of predict --shard, as one machine would have written them.",
    "serve": "Answer callers over HTTP with exports, without torch.",
    "features": "Write what a model makes of images before it answers.",
    "differential": "Count the cells of each class, with intervals.",
    "review": "Check on a page what a model proposes, and sign the count.",
    "compare": "Compare several models on one data set, with intervals.",
    "study": "Run a grid of trials under several protocols.",
    "data": "Prepare and show data sets.",
    "plugin": "Write, check and list plugins.",
    "bench": "Measure speed as ratios, and how well cells are found.",
    "demo": "Do the whole job once, offline, on drawn images.",
    "doctor": "Say what this installation and machine can do.",
}


class _Verbs(click.Group):
    """A group that knows its commands by name and imports each on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*VERBS]  # `list` is a verb here once it was imported, and no type

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        with _collecting_nothing():
            command: click.Command = import_module(f"wbczoo.cli.{name}").command
        nested = command.commands.values() if isinstance(command, click.Group) else ()
        for each in (command, *nested):
            if not any(parameter.name == "debug" for parameter in each.params):
                each.params.append(_debug_option())
                each.callback = each.callback and alone_on_stdout(each.callback)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([*VERBS.items()])


@contextmanager
def _collecting_nothing() -> Iterator[None]:
    """An import makes many objects and nothing to collect; looking takes 20 ms of a start."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _debug_option() -> click.Option:
    def remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            ctx.find_root().meta["wbczoo.debug"] = True
            os.environ["WBCZOO_DEBUG"] = "1"

    return click.Option(
        ["--debug"],
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Show the traceback of an error.",
    )


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    params=[_debug_option()],
)
@click.version_option(__version__, prog_name="wbczoo")
def cli() -> None:
    """Compose, train, measure and ship white blood cell classifiers.

    Example: wbczoo build --backbone mobilenetv2 --seq bilstm
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code.

    0 done; 1 failed; 2 wrong usage; 3 finished, but images were refused or a gate did not hold;
    130 stopped by Ctrl-C.
    """
    _prepare_streams_and_signals()
    stdout = sys.stdout
    try:
        code: Any = cli.main(
            None if arguments is None else [*arguments],
            prog_name="wbczoo",
            standalone_mode=False,
        )
        sys.stdout.flush()
        return int(code) if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("stopped", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (Exception, SystemExit) as error:  # a plugin's `sys.exit(0)` must not pass for success
        # Where the reader went away (`| head`), click wraps the stream and leaves by itself.
        if isinstance(error, BrokenPipeError) or sys.stdout is not stdout:
            return 1
        return _explain(error)


def run() -> int:
    """A process of its own for one command: as `main`, and its end comes sooner."""
    code = main()
    if "torch" not in sys.modules:  # whose compiler would list all that it sees not collected
        gc.freeze()  # else the end searches all that was imported for what could be collected
    return code


def _prepare_streams_and_signals() -> None:
    """Let closed streams lose what is written, and let SIGTERM clean up as Ctrl-C does."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a stranger's licence in latin-1
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _explain(error: BaseException) -> int:
    if os.environ.get("WBCZOO_DEBUG"):
        traceback.print_exception(error)
    if isinstance(error, WbczooError):
        sentence, code = str(error), error.exit_code
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        where = f" at {error.filename}" if error.filename else ""
        sentence, code = f"The disk is full{where}. Nothing half-written was left; free space.", 1
    elif isinstance(error, OSError) and error.filename and error.strerror:
        sentence, code = f"{error.filename}: {error.strerror}. Name another place.", 1
    elif isinstance(error, MemoryError):
        sentence, code = "The memory does not suffice; try a smaller --batch-size.", 1
    elif isinstance(error, ModuleNotFoundError):
        sentence = f"{error.name} is not installed: {how_to_install('train')}."
        code = 1
    else:
        sentence = (
            f"{type(error).__name__}: {error}. This is a fault in wbczoo or in a plugin; "
            "--debug shows where."
        )
        code = 1
    # What a file says of itself may be quoted, with signs that a terminal would obey.
    told = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in sentence)
    click.echo(f"Error: {told}", err=True)
    return code


if __name__ == "__main__":
    sys.exit(run())
