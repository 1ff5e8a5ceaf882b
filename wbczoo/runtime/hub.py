"""Exports pass through here to and from a model hub; none that does not answer as it did passes."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wbczoo import __version__, files, progress
from wbczoo.errors import UsageError, WbczooError
from wbczoo.machine import how_to_install
from wbczoo.runtime.card import Card
from wbczoo.runtime.folder import CARD, FILES
from wbczoo.text import first_line

if TYPE_CHECKING:
    from huggingface_hub import HfApi

README = "README.md"  # the page that a hub shows: the card again

_COMMIT = re.compile("[0-9a-f]{40}")
_PATIENCE = 20.0  # seconds for the first answer; a hub that gives one is up


class NotHeld(WbczooError):  # noqa: N818 - a verdict on an export, no fault of the program
    """An export that does not answer as its card and example say; the message tells what."""

    exit_code = 3


def push(
    export: str | os.PathLike[str], repository: str, *, private: bool = False
) -> dict[str, Any]:
    """Upload an export to a hub as one commit; its card is the page that the hub shows.

    The hub is `$HF_ENDPOINT`, else Hugging Face's; the token is `$HF_TOKEN`, else that of
    `hf auth login`.

    Args:
        export: an export's folder; only its own four files are sent.
        repository: `OWNER/NAME`, which is made if it is not there.
        private: make it private. One that is there and public is refused.

    Returns:
        `repository`, `endpoint`, `url` and `commit` of what was made, `private`, and the `files`
        that the repository now has of it.

    Raises:
        NotHeld: if a file is missing, has another hash than the card gives, or the example is
            answered differently; then the hub is never asked.
        UsageError: if the repository's name is none, or it is public and `private` was asked.
        WbczooError: if the hub cannot be reached, or refuses.
    """
    library = _import_hub()
    export = Path(export)
    if not export.is_dir():
        raise UsageError(f"{export} is no folder. Give the folder that `wbczoo export` made.")
    name = _check(export, str(export), "Export the run again.")
    sources = {each: export / each for each in FILES} | {README: export / "card.md"}
    with _explained(repository) as api:
        try:
            found = api.model_info(repository, timeout=_PATIENCE)
            if private and not found.private:
                raise UsageError(
                    f"{repository} is public, and --private was asked for. Make it private on the "
                    "hub, or name another repository."
                )
            private = bool(found.private)
        except library.errors.RepositoryNotFoundError:
            # Without --private the owner's own setting decides.
            api.create_repo(repository, private=private or None, exist_ok=True)
        made = api.create_commit(
            repository,
            [library.CommitOperationAdd(path, source) for path, source in sources.items()],
            commit_message=f"{name}, exported by wbczoo {__version__}",
        )
        # A repository's own rules may leave files out of a commit without a word.
        now = api.model_info(repository, revision=made.oid, timeout=_PATIENCE)
    held = {each.rfilename for each in now.siblings or ()}
    if lacking := sorted(sources.keys() - held):
        raise WbczooError(
            f"{repository} took the commit {made.oid} without {', '.join(lacking)}. Look for a "
            ".gitignore in it, and push again."
        )
    return {
        "repository": repository,
        "endpoint": api.endpoint,
        "url": f"{api.endpoint}/{repository}",
        "commit": made.oid,
        "private": bool(now.private),
        "files": sorted(sources),
    }


def pull(
    repository: str, out: str | os.PathLike[str], *, revision: str | None = None
) -> dict[str, Any]:
    """Fetch an export from a hub, check it, and only then give the folder its name.

    Its four files are taken, all of one commit, and no other file of the repository; nothing of
    them is executed but the network, by onnxruntime. The hashes tell damage. They are no
    signature: who owns the repository wrote them as well.

    Args:
        repository: `OWNER/NAME`.
        out: a new folder, or an empty one.
        revision: a branch, tag or commit; the main branch if None.

    Returns:
        `repository`, `endpoint`, `commit`, `out`, `name`, and the `files` with their SHA-256.

    Raises:
        NotHeld: if a file is missing or does not have the hash in the card, or the example is
            answered differently; then nothing is left.
        UsageError: if `out` is taken, or the repository's name is none.
        WbczooError: if the hub cannot be reached, has no such repository or revision, or refuses.
    """
    library = _import_hub()
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} exists. Name a new folder for the export.")
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    export = aside / "export"
    try:
        export.mkdir()
        with _explained(repository) as api:
            # A branch may move between two files; a commit does not.
            commit = api.model_info(repository, revision=revision, timeout=_PATIENCE).sha
            for name in FILES:
                try:
                    fetched = api.hf_hub_download(
                        repository, name, revision=commit, local_dir=aside / "fetched"
                    )
                except library.errors.EntryNotFoundError as error:
                    if isinstance(error, FileNotFoundError):  # not there without a connection
                        raise
                    raise NotHeld(
                        f"{repository} is no export of wbczoo: it has no {name}. Nothing was kept."
                    ) from None
                Path(fetched).rename(export / name)
        name = _check(export, repository, "Nothing of it was kept.")
        document = {
            "repository": repository,
            "endpoint": api.endpoint,
            "commit": commit,
            "out": str(out),
            "name": name,
            "files": {name: files.sha256_of(export / name) for name in FILES},
        }
        if out.exists():
            out.rmdir()
        export.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return document


def keep(address: str) -> Path:
    """The folder of a hub's export in the cache, fetched and checked where it is not there yet.

    Args:
        address: `OWNER/NAME`, or `OWNER/NAME@REVISION`. A whole commit that is there is not asked
            of the hub again.

    Returns:
        a folder that is called as the repository is, below one for each commit.

    Raises:
        NotHeld, UsageError, WbczooError: as `pull` does; where the hub gives no answer, with a
            commit that is there.
    """
    repository, _, revision = address.partition("@")
    name = repository.rpartition("/")[2]
    home = files.cache_folder() / "hub" / repository.replace("/", "--")
    if _COMMIT.fullmatch(revision) and (home / revision / name).is_dir():
        return home / revision / name
    try:
        with _explained(repository) as api:
            found = api.model_info(repository, revision=revision or None, timeout=_PATIENCE)
    except UsageError:
        raise
    except WbczooError as error:
        held = sorted(home.glob(f"*/{name}"), key=lambda each: each.stat().st_mtime)
        if not held:
            raise
        here = f"hf://{repository}@{held[-1].parent.name}"
        raise WbczooError(f"{error} Of what was fetched before, {here} needs no hub.") from None
    folder = home / str(found.sha) / name
    if not folder.is_dir():
        try:
            pull(repository, folder, revision=found.sha)
        except UsageError:
            if not folder.is_dir():  # else another process was quicker
                raise
        finally:
            with contextlib.suppress(OSError):
                folder.parent.rmdir()  # of what did not hold
    progress.tell(f"hf://{repository} is at commit {found.sha}")
    return folder


def _check(export: Path, called: str, cure: str) -> str:
    """The model's name; NotHeld unless all is there, as its card says, and answers its example."""
    from wbczoo.runtime import verify

    if lacking := [name for name in FILES if not (export / name).is_file()]:
        raise NotHeld(f"{called} is no whole export: {', '.join(lacking)} is missing. {cure}")
    name = ""
    try:
        card = Card.read(export / CARD)
        name = card.name if card else ""
        # The example was recorded on the CPU, where the bound is the narrowest.
        problems = list(verify(export, device="cpu").problems)
    except WbczooError as error:  # it cannot even be asked
        problems = [str(error)]
    if problems:
        told = " ".join(problems).replace(f"{export}{os.sep}", "")
        raise NotHeld(f"{called} does not hold. {told} {cure}")
    return name


@contextlib.contextmanager
def _explained(repository: str) -> Iterator[HfApi]:
    """A client of the hub; whatever goes wrong with it is told as what to do about it."""
    library = _import_hub()
    errors = library.errors
    if not sys.stderr.isatty():
        library.utils.disable_progress_bars()
    api: HfApi = library.HfApi(library_name="wbczoo", library_version=__version__)
    where = f"{repository} at {api.endpoint}"
    if repository.count("/") != 1:
        raise UsageError(f"A repository is named OWNER/NAME; {repository!r} is not.")
    try:
        yield api
    except WbczooError:
        raise
    except errors.HFValidationError as error:
        raise UsageError(f"A repository is named OWNER/NAME. {first_line(error)}") from None
    except errors.OfflineModeIsEnabled:
        raise WbczooError(
            f"{where} was not asked, for HF_HUB_OFFLINE is set. Unset it, or copy the export's "
            "folder by hand."
        ) from None
    except errors.RevisionNotFoundError:
        raise WbczooError(
            f"{where} has no such revision. Name a branch, tag or commit of it."
        ) from None
    except errors.HfHubHTTPError as error:
        raise WbczooError(f"{where}: {_refusal(error)}") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of this machine's disk; the command line has a sentence for it
        cause: BaseException = error
        while (behind := cause.__cause__) is not None:
            cause = behind
        raise WbczooError(
            f"{where} could not be reached, or broke off ({type(cause).__name__}: "
            f"{first_line(cause)}). Look at the connection and at HF_ENDPOINT, and try again."
        ) from None


def _import_hub() -> Any:
    """The module huggingface_hub, which is an extra; WbczooError where it is not installed."""
    try:
        import huggingface_hub
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ImportError as error:
        raise WbczooError(
            f"huggingface_hub does not load ({error}): {how_to_install('hub')}"
        ) from None
    return huggingface_hub


def _refusal(error: Any) -> str:
    """A hub's refusal and the way out of it, by its HTTP status."""
    from huggingface_hub.errors import RepositoryNotFoundError

    status = error.response.status_code
    login = "set HF_TOKEN to a token that may, or log in with `hf auth login`"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"there is no such repository, or it is private (HTTP {status}). Look at its name; if "
            f"it is private, {login}."
        )
    if status in (401, 403):
        return f"the hub does not allow you this (HTTP {status}); {login}."
    said = error.server_message or first_line(error)
    return f"the hub refused with HTTP {status}: {said}. Try again later."
