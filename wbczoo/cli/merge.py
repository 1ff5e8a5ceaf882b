"""`wbczoo merge`: the rows of several shards become those of one machine."""

from __future__ import annotations

from typing import Any

import click


@click.command("merge")
@click.argument("parts", nargs=-1, required=True, type=click.Path())
@click.option("--out", type=click.Path(), required=True, help="The file or URL for all rows.")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["jsonl", "csv", "parquet"]),
    help="Of the file; Parquet is made of parts that are JSON lines.  [default: that of the parts]",
)
@click.option("--overwrite", is_flag=True, help="Replace what --out names.")
def command(parts: tuple[str, ...], out: str, layout: Any, overwrite: bool) -> None:
    """Join the files that `wbczoo predict --shard` wrote, in any order, in the images' order.

    Example: wbczoo merge part-1.jsonl part-2.jsonl --out rows.jsonl
    """
    from wbczoo.progress import tell
    from wbczoo.runtime.shards import merge

    images = merge(parts, out, layout=layout, overwrite=overwrite)
    tell(f"{out}: {images} images of {len(parts)} shards")
