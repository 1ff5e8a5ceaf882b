"""The server of a review answers nobody but its own pages, and never by a path of theirs."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the extra `review` is not installed")
pytest.importorskip("uvicorn", reason="the extra `review` is not installed")

from drawn_review import decision, open_drawn, serving

from wbczoo.review.session import Review

SECRETS = {"of-ada": "Ada", "of-bea": "Bea"}


@pytest.fixture(scope="module")
def review(tmp_path_factory: pytest.TempPathFactory) -> Review:
    return open_drawn(tmp_path_factory.mktemp("served") / "review")


@pytest.fixture(scope="module")
def site(review: Review) -> Iterator[str]:
    with serving(review) as address:
        yield address


def ask(
    address: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes, dict[str, str]]:
    host = address.split("/")[2]
    sent = {"Origin": f"http://{host}"} if body is not None else {}
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {**sent, **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), dict(error.headers)


def act(address: str, by: str, *actions: dict[str, Any]) -> dict[str, Any]:
    status, content, _ = ask(f"{address}/api/act", {"by": by, "actions": [*actions]})
    assert status == 200, content
    found: dict[str, Any] = json.loads(content)
    return found


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/secret/", {}, 200),
        ("/secret/page/main.js", {}, 200),
        ("/secret/crops?cells=0,11", {}, 200),
        ("/secret/photographs/0.jpg", {}, 200),
        ("/", {}, 404),
        ("/secret", {}, 404),
        ("/wrong/", {}, 404),
        ("/secre%74/", {}, 200),
        ("/page/main.js", {}, 404),
        ("/api/review", {}, 404),
        ("/secret/", {"Host": "evil.example:80"}, 403),
        ("/secret/", {"Host": "127.0.0.1"}, 403),
        ("/secret/", {"Origin": "http://evil.example"}, 403),
        ("/secret/", {"Origin": "null"}, 403),
        ("/secret/page/../server.py", {}, 404),
        ("/secret/page/..%2fserver.py", {}, 404),
        ("/secret/page/server.py", {}, 404),
        ("/secret/photographs/..%2f..%2fetc%2fpasswd", {}, 404),
        ("/secret/photographs/99.jpg", {}, 404),
        (f"/secret/photographs/{'1' * 5000}.jpg", {}, 404),
        (f"/secret/maps/{'1' * 5000}.png", {}, 404),
        (f"/secret/api/events?by=Ada&since={'1' * 5000}", {}, 404),
        ("/secret/crops", {}, 404),
        ("/secret/crops?cells=-1", {}, 404),
        ("/secret/crops?cells=12", {}, 404),
        ("/secret/crops?cells=99999999999999999999", {}, 404),
        ("/secret/crops?cells=" + "0," * 300, {}, 404),
        ("/secret/signed", {}, 404),
        ("/secret/api/agreement", {}, 404),
        ("/secret/api/act", {}, 405),
    ],
)
def test_only_who_knows_the_secret_and_asks_from_here_is_answered(
    site: str, path: str, headers: dict[str, str], status: int
) -> None:
    code, content, told = ask(site + path, headers=headers)
    assert code == status, content
    assert told["content-security-policy"].startswith("default-src 'none'")
    assert "unsafe" not in told["content-security-policy"]
    assert told["referrer-policy"] == "no-referrer"
    assert told["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ({"by": "Ada", "actions": []}, {}, 200),
        ({"by": "Ada", "actions": []}, {"Origin": "http://evil.example"}, 403),
        ({"by": "Ada", "actions": []}, {"Origin": ""}, 403),
        ({"by": "A\u202eda", "actions": []}, {}, 409),
        ({"by": "A" * 99, "actions": []}, {}, 409),
        ({"actions": []}, {}, 409),
        ({"by": "Ada", "actions": [{"do": "delete", "token": "tokentoken"}]}, {}, 400),
        ({"by": "Ada", "actions": [{"do": "undo", "token": "<script>"}]}, {}, 400),
        ({"by": "Ada", "actions": [{**decision(0, to="monocyte"), "path": "/etc"}]}, {}, 400),
        (b"{", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b"x" * (5 << 20), {}, 413),
    ],
)
def test_odd_requests_change_nothing(
    site: str, review: Review, body: Any, headers: dict[str, str], status: int
) -> None:
    before = review.version
    try:
        code = ask(f"{site}/secret/api/act", body, headers)[0]
    except urllib.error.URLError:  # it hung up on what is too much
        code = 413
    assert code == status
    assert review.version == before


def test_another_tab_hears_of_a_decision(site: str) -> None:
    version = json.loads(ask(f"{site}/secret/api/review")[1])["version"]
    stream = urllib.request.urlopen(f"{site}/secret/api/events?by=Bea&since={version}", timeout=20)
    with stream:
        act(f"{site}/secret", "Ada", decision(3, to="monocyte"))
        line = next(line for line in stream if line.startswith(b"data: "))
    told = json.loads(line.removeprefix(b"data: "))
    assert told["changes"] == [[3, "monocyte", "Ada", version + 1]]


def test_two_secrets_are_two_reviewers_whoever_they_say_they_are(tmp_path: Path) -> None:
    from wbczoo.review.serve import begin_second

    review = open_drawn(tmp_path / "review")
    begin_second(review, "Ada", "Bea")
    with serving(review, SECRETS) as address:
        act(f"{address}/of-ada", "Bea", decision(*range(12), to="monocyte"))
        for secret, count in (("of-ada", 12), ("of-bea", 0)):
            told = json.loads(ask(f"{address}/{secret}/api/review?by=Ada")[1])
            assert len(told["changes"]) == count
            assert told["you"] == SECRETS[secret]


def test_a_blind_reviewer_reaches_no_cell_that_the_other_drew(tmp_path: Path) -> None:
    from wbczoo.review.serve import begin_second

    review = open_drawn(tmp_path / "review")
    begin_second(review, "Ada", "Bea")
    with serving(review, SECRETS) as address:
        act(f"{address}/of-ada", "Ada",
            {"do": "add", "token": "of-ada-1", "photograph": 1, "box": [200, 150, 230, 184],
             "to": ["monocyte"]},
            {"do": "undo", "token": "of-ada-2"})  # fmt: skip
        assert ask(f"{address}/of-ada/crops?cells=12")[0] == 200  # which may be done again
        assert ask(f"{address}/of-ada/maps/12.png")[0] == 410
        for path in ("crops?cells=12", "crops?cells=12&by=Ada", "maps/12.png"):
            assert ask(f"{address}/of-bea/{path}")[0] == 404
        told = act(f"{address}/of-bea", "Bea", decision(12, to="lymphocyte"))
    assert told["results"][0]["refused"] == "There is no such cell."


def test_a_changed_photograph_is_not_shown(tmp_path: Path) -> None:
    review = open_drawn(tmp_path / "review")
    path = Path(review.prepared.photographs[1].path)
    path.write_bytes(Path(review.prepared.photographs[0].path).read_bytes())
    with serving(review) as address:
        code, content, _ = ask(f"{address}/secret/photographs/1.jpg")
    assert code == 410
    assert b"another one" in content
