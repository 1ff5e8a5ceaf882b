"""A folder's review is prepared and served, until somebody stops it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from wbczoo import files
from wbczoo.errors import UsageError
from wbczoo.images.walk import Found
from wbczoo.review.count import Choice, Ranges, choose_keys, read_ranges
from wbczoo.review.decisions import NOT_A_CELL, SKIPPED
from wbczoo.review.exchange import check_labels, take_labels
from wbczoo.review.log import Log
from wbczoo.review.prepare import prepare
from wbczoo.review.session import Review, check_name
from wbczoo.review.sign import write_signed
from wbczoo.runtime.session import Session
from wbczoo.tasks import Task

HOST = "127.0.0.1"

_TOLD = 1.0  # seconds in which a page hears why there is nothing to review
_LOOKED = 0.2  # seconds between two looks at whether there is a review, for Ctrl-C to be heard


@dataclass(frozen=True)
class Wanted:
    """What a command line asks of a review.

    Attributes:
        classes: as `choose_keys` takes them.
        ranges: a table of reference ranges.
        reviewer, second: names; the second sees nothing of the first before both have signed.
        labels_from: a file of labels that the reviewer made elsewhere, COCO's or Label Studio's.
        micrometres: that a pixel of the photographs is wide, where it is known.
    """

    task: str | None = None
    cells: Any = None
    classes: Sequence[str] = ()
    ranges: Path | None = None
    reviewer: str | None = None
    second: str | None = None
    micrometres: float | None = None
    labels_from: Path | None = None


def open_review(
    folder: Path,
    images: Sequence[Found],
    model: Path,
    open_session: Callable[[], Session],
    wanted: Wanted,
    advance: Callable[[str, int, int | None], object] = lambda stage, done, total: None,
) -> Review:
    """Begin a folder's review, or go on with it.

    Raises:
        UsageError, WbczooError: as `prepare`, `Log`, `choose_keys`, `read_ranges`, `begin_second`
            and `take_labels` do; all that can be known without the answers before they are asked.
    """
    log = Log(folder)
    if wanted.labels_from is not None and wanted.reviewer is None:
        raise UsageError("--labels-from is somebody's work; say whose: --reviewer NAME.")

    def offer(task: Task) -> tuple[list[Choice], Ranges | None]:
        choices = choose_keys(_classes(task, log), wanted.classes)
        ranges = read_ranges(wanted.ranges, [c.name for c in choices]) if wanted.ranges else None
        if wanted.labels_from is not None:
            check_labels(wanted.labels_from, map(str, images), choices)
        return choices, ranges

    # What cannot be offered is refused before thousands of photographs are answered.
    prepared = prepare(folder, log, images, model, open_session, task_name=wanted.task,
                       cells=wanted.cells, check=offer, advance=advance)  # fmt: skip
    choices, ranges = offer(prepared.task)
    review = Review(folder, prepared, log, choices, ranges)
    if wanted.second is not None:
        begin_second(review, wanted.reviewer, wanted.second)
    if wanted.labels_from is not None and wanted.reviewer is not None:
        take_labels(review, check_name(wanted.reviewer), wanted.labels_from)
    write_signed(review)
    return review


def _classes(task: Task, log: Log) -> list[str]:
    """The task's classes, and those that were decided though it has not got them."""
    said = [entry["to"] for entry in log.entries if entry["what"] == "decide" and entry.get("to")]
    names = dict.fromkeys([*task.classes, *said])
    return [name for name in names if name not in (NOT_A_CELL, SKIPPED)]


def begin_second(review: Review, first: str | None, second: str) -> None:
    """From here on two people review, each for themselves.

    Raises:
        UsageError: if it is not known who the first is, or there are two others already.
    """
    second = check_name(second)
    if review.decisions.second is not None:
        if second not in review.decisions.second:
            raise UsageError(
                f"{' and '.join(review.decisions.second)} review here, each for themselves; "
                f"{second} needs a folder of their own."
            )
        return
    known = review.decisions.names
    first = check_name(first) if first else (known[0] if len(known) == 1 else None)
    if first is None or first == second or not {*known} <= {first}:
        raise UsageError(
            "--second needs one first reviewer with another name, who alone decided so far"
            + (f"; here {', '.join(known)} did." if known else ": name them with --reviewer.")
        )
    review.write({"what": "second", "by": first, "to": second})


def who_reviews(folder: Path, wanted: Wanted) -> list[str]:
    """The names that need an address of their own; [""] where anybody says who they are."""
    entries = Log(folder).entries
    for entry in entries:
        if entry["what"] == "second":
            return [entry["by"], entry["to"]]
    if wanted.second is None:
        return [""]
    known = list(dict.fromkeys(e["by"] for e in entries if e["what"] == "decide"))
    first = wanted.reviewer or (known[0] if len(known) == 1 else None)
    if first is None:
        raise UsageError("--second needs the first reviewer's name: --reviewer NAME.")
    names = [check_name(first), check_name(wanted.second)]
    if names[0] == names[1]:
        raise UsageError(f"{first} is the first reviewer; --second names another person.")
    return names


def bind(host: str, port: int | None, before: int | None) -> socket.socket:
    """A socket at a port: the one that is wanted, else that of before, else any that is free.

    Raises:
        UsageError: if the wanted one is taken, or the host is none of this machine.
    """
    for chosen in (port,) if port is not None else (before or 0, 0):
        made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((host, chosen))
            made.listen()  # a browser that comes before the server waits
        except OSError as error:
            made.close()
            if port is not None or chosen == 0:
                raise UsageError(
                    f"{host}:{chosen} cannot be opened: {error.strerror}. Give another --port."
                ) from None
            continue
        return made
    raise AssertionError


def run(
    folder: Path,
    images: Sequence[Found],
    model: Path,
    open_session: Callable[[], Session],
    wanted: Wanted,
    *,
    host: str = HOST,
    port: int | None = None,
    announce: Callable[[dict[str, str]], object],
) -> None:
    """Serve a folder's review until the process is stopped.

    Args:
        announce: is told the address of each reviewer, by name, once pages can be asked for
            and the photographs are being answered, or were.

    Raises:
        UsageError: if another process reviews in this folder; as `bind` does.
        Exception: what preparing the review failed with, once a page could hear it.
    """
    import uvicorn

    from wbczoo.review.guard import Guard, keep_address, write_address
    from wbczoo.review.server import Served, make_app

    folder.mkdir(parents=True, exist_ok=True)

    def refuse() -> NoReturn:
        raise UsageError(f"Another process reviews in {folder}. Use its page, or stop it first.")

    with files.locked(folder / ".review.lock", refuse, remove=True):
        names = who_reviews(folder, wanted)
        address = keep_address(folder, names, None)
        with bind(host, port, address["port"]) as listening:
            number = listening.getsockname()[1]
            address["port"] = number
            write_address(folder, address)
            served, failed = Served(), list[Exception]()
            served.micrometres = wanted.micrometres
            served.open_session = open_session
            served.reviewer = check_name(wanted.reviewer) if wanted.reviewer else ""
            shown = f"[{host}]" if ":" in host else host
            hosts = [f"{name}:{number}" for name in (shown, "127.0.0.1", "localhost")]
            secrets = {secret: name for name, secret in address["secrets"].items()}
            app = Guard(make_app(served), hosts, secrets)
            server = uvicorn.Server(
                uvicorn.Config(app, log_config=None, access_log=False, lifespan="off",
                               server_header=False, timeout_graceful_shutdown=1)
            )  # fmt: skip
            served.stopped = lambda: server.should_exit

            # What refuses a review at once is told in place of an address.
            sure, announced = threading.Event(), threading.Event()

            def advance(stage: str, done: int, total: int | None) -> None:
                served.advance(stage, done, total)
                sure.set()

            def work() -> None:
                from wbczoo.review.crops import Crops

                try:
                    review = open_review(folder, images, model, open_session, wanted, advance)
                    served.crops = Crops(folder)
                    served.review = review
                except Exception as error:  # the command ends with it, once the page has it
                    failed.append(error)
                    served.failed = str(error) or type(error).__name__
                    if announced.is_set():
                        time.sleep(_TOLD)
                    server.should_exit = True
                finally:
                    sure.set()

            threading.Thread(target=work, daemon=True).start()
            while not sure.wait(_LOOKED):
                pass
            if not failed:
                announced.set()
                announce(
                    {name: f"http://{shown}:{number}/{address['secrets'][name]}/" for name in names}
                )
                server.run(sockets=[listening])
        if failed:
            raise failed[0]
