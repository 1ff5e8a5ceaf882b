"""A user's table meets the files that it means, and says one thing of each."""

from __future__ import annotations

from pathlib import Path
from unicodedata import normalize

import pytest

from wbczoo.errors import UsageError
from wbczoo.images.tables import read_table

NAMES = ["Müller/1.jpg", "b/2.jpg"]


@pytest.mark.parametrize(
    "text",
    [
        "file,group\nMüller/1.jpg,p1\nb/2.jpg,p2\n",
        "file;group\nMüller/1.jpg;p1\nb/2.jpg;p2\n",
        "file\tgroup\nMüller/1.jpg\tp1\nb/2.jpg\tp2\n",
        "sep=|\nfile|group\nMüller/1.jpg|p1\nb/2.jpg|p2\n",
        "\ufeff File , Group \r\n Müller/1.jpg , p1 \r\n\r\nb/2.jpg, p2\r\n,,\r\n",
        "group,note,file\np1,\"a, b\",./Müller//1.jpg\np2,,b\\2.jpg\np2,again,'b/2.jpg'\n".replace(
            "'", '"'
        ),
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_table_is_read_however_it_is_written(text: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    path.write_text(normalize("NFD" if form == "NFC" else "NFC", text), newline="")
    table = read_table(path, ["group"])
    for name, group in zip(NAMES, ("p1", "p2"), strict=True):
        assert table.find(normalize(form, name)) == {"group": group}
    assert table.find("2.jpg", "x/2.jpg") is None
    # The sign that Windows copies before a path, and the blank in a Mac's names of screenshots.
    path.write_text("file,group\n\u202ax/9 AM.jpg,p3\n", encoding="utf-8")
    assert read_table(path, ["group"]).find("x/9\u202fAM.jpg") == {"group": "p3"}
    assert table.find("2.jpg", "b/2.jpg") == {"group": "p2"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("file,patient\na.jpg,1\n", "needs the columns file and group"),
        ("", "needs the columns file and group"),
        ("file,group,Group\na.jpg,1,2\n", "each once"),
        (
            "file,group\na.jpg,1\n./a.jpg,2\n",
            r"two things of a\.jpg: group 1, and in line 3 group 2",
        ),
        ("file,group\na.jpg, \n", "Line 2 of .* has no group"),
        ("file,group\n,1\n", "Line 2 of .* has no file"),
        ("file,group\na.jpg\n", "Line 2 of .* has no group"),
        ("file,group\na,b.jpg,1\n", "Line 2 of .* has 3 cells"),
        ("file,group\n\udcff,1\n", "cannot be read as CSV in UTF-8"),
    ],
)
def test_a_table_that_is_not_clear_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=sentence):
        read_table(path, ["group"])
