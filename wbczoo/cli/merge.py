"""`wbczoo merge`: the rows of several shards become those of one machine."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("merge")
@click.argument("parts", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The file with all rows."
)
@click.option("--overwrite", is_flag=True, help="Replace what --out names.")
def command(parts: tuple[Path, ...], out: Path, overwrite: bool) -> None:
    """Join the files that `wbczoo predict --shard` wrote, in any order, in the images' order.

    Example: wbczoo merge part-1.jsonl part-2.jsonl --out rows.jsonl
    """
    from wbczoo.progress import tell
    from wbczoo.runtime.shards import merge

    images = merge(parts, out, overwrite=overwrite)
    tell(f"{out}: {images} images of {len(parts)} shards")
