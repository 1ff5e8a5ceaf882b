"""`wbczoo serve` as callers meet it: rows, tensors, refusals, and its end."""

from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import drawn_fields
import numpy as np
import pytest
import tiny_export
from commands import ROOT, Completed
from hostile_models import changed, endless
from PIL import Image
from served import Server, form, serving
from tiny_images import picture

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("httptools")
pytest.importorskip("python_multipart")
pytest.importorskip("prometheus_client")

TOKEN = "a-token"
LINES = {"Accept": "application/x-ndjson"}
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 3, *tiny_export.SIZE), dtype=np.uint8)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `tiny`, `cells` and `endless`."""
    root = tmp_path_factory.mktemp("models")
    for name in ("tiny", "cells", "endless"):
        (root / name).mkdir()
    tiny_export.write_model(root / "tiny" / "model.onnx")
    drawn_fields.write_model(root / "cells" / "model.onnx")
    content = (root / "tiny" / "model.onnx").read_bytes()
    (root / "endless" / "model.onnx").write_bytes(changed(content, endless))
    return root


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[Server]:
    """Batches of one, so that rows are the bytes that `predict --batch-size 1` writes."""
    with serving(
        models / "tiny", models / "cells", "--max-batch", 1, "--max-images", 6, "--max-body", 0.2
    ) as started:
        yield started


@pytest.mark.parametrize(
    ("query", "options"),
    [("tiny", ()), ("cells", ()), ("cells&cells=all", ("--cells", "all"))],
)
def test_image_files_are_answered_by_the_rows_of_predict(
    server: Server, models: Path, tmp_path: Path, wbczoo: Callable[..., Completed],
    query: str, options: tuple[str, ...],
) -> None:  # fmt: skip
    files = {path.name: path.read_bytes() for path in drawn_fields.write_fields(tmp_path)}
    body, kind = form(files)
    lines = server.ask(f"/v1/predict?model={query}", body, Content_Type=kind, **LINES)
    model = models / query.partition("&")[0]
    told = wbczoo(
        "predict", *files, "--model", model, "--batch-size", 1, "--device", "cpu", *options,
        expect=3, cwd=tmp_path,
    )  # fmt: skip
    assert lines.status == 200
    assert lines.body.decode() == told.stdout
    document = server.ask(f"/v1/predict?model={query}", body, Content_Type=kind).json
    assert document["rows"] == [json.loads(line) for line in told.stdout.splitlines()]


def test_one_raw_image_is_answered_and_one_that_is_none_is_refused(server: Server) -> None:
    good = server.ask("/v1/predict", picture(1), Content_Type="image/png")
    assert good.status == 200
    assert [row["path"] for row in good.json["rows"]] == ["-"]
    bad = server.ask("/v1/predict", b"no image")
    assert bad.status == 422
    assert "no image" in bad.json["rows"][0]["error"]


def infer(**changes: object) -> bytes:
    """A request for the tensors of `PIXELS` in JSON."""
    told = {"name": "images", "datatype": "UINT8", "shape": [*PIXELS.shape]}
    told |= {"data": PIXELS.tolist()}
    return json.dumps({"inputs": [{**told, **changes}]}).encode()


def test_tensors_in_json_are_answered_in_json(server: Server) -> None:
    told = server.ask("/v2/models/tiny/infer", infer()).json
    assert told["model_name"] == "tiny"
    found = {each["name"]: np.reshape(each["data"], each["shape"]) for each in told["outputs"]}
    for task, logits in tiny_export.expected_logits(PIXELS).items():
        np.testing.assert_allclose(found[f"{task}_logits"], logits, atol=1e-4)


def test_the_client_of_triton_is_served_unchanged(server: Server) -> None:
    client = pytest.importorskip("tritonclient.http")
    asking = client.InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=2)
    assert asking.is_server_live()
    assert asking.is_server_ready()
    assert asking.is_model_ready("tiny", "1")
    assert not asking.is_model_ready("other")
    assert asking.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    told = asking.get_model_metadata("tiny")
    assert told["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 3, 24, 32]}]
    logits = tiny_export.expected_logits(PIXELS)["cell"]
    for binary_in in (True, False):
        given = client.InferInput("images", PIXELS.shape, "UINT8")
        given.set_data_from_numpy(PIXELS, binary_data=binary_in)
        every = asking.infer("tiny", [given], request_id="7")
        assert every.get_response()["id"] == "7"
        np.testing.assert_allclose(every.as_numpy("cell_logits"), logits, atol=1e-4)
        for binary_out in (True, False):
            wanted = [client.InferRequestedOutput("cell_logits", binary_data=binary_out)]
            found = asking.async_infer("tiny", [given], outputs=wanted).get_result()
            np.testing.assert_allclose(found.as_numpy("cell_logits"), logits, atol=1e-4)
            assert found.as_numpy("nucleus_logits") is None
    wrong = client.InferInput("images", [1, 3, 9, 9], "UINT8")
    wrong.set_data_from_numpy(np.zeros((1, 3, 9, 9), np.uint8))
    with pytest.raises(client.InferenceServerException, match="reads images of shape"):
        asking.infer("tiny", [wrong])
    with pytest.raises(client.InferenceServerException, match="no such model"):
        asking.infer("other", [wrong])
    asking.close()


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/nothing", None, {}, 404),
        ("/v2/models/other", None, {}, 404),
        ("/v2/models/tiny/versions/2", None, {}, 404),
        ("/v1/predict", None, {}, 405),
        ("/v1/predict", b"", {}, 400),
        ("/v1/predict?model=other", b"x", {}, 404),
        ("/v1/predict?model=tiny&cells=all", b"x", {}, 400),
        ("/v1/predict?cells=many", b"x", {}, 400),
        ("/v1/predict", b"x" * 200_001, {}, 413),
        ("/v1/predict", b"x", {"Content_Encoding": "gzip"}, 415),
        ("/v1/predict", b"x", {"Content_Type": "multipart/form-data"}, 400),
        ("/v1/predict", b"x", {"Content_Type": "multipart/form-data; boundary=cut"}, 400),
        ("/v1/predict", *form({"a.png": b"x"}, field="other"), 400),
        ("/v1/predict", *form({f"{n}.png": b"x" for n in range(7)}), 400),
        ("/v2/models/tiny/infer", b"[" * 100_000, {}, 400),
        ("/v2/models/tiny/infer", b'{"inputs": [1]}', {}, 400),
        ("/v2/models/tiny/infer", infer(shape=[1 << 62, 3, 24, 32]), {}, 400),
        ("/v2/models/tiny/infer", infer(shape=[1, 3, 24, 32]), {}, 400),
        ("/v2/models/tiny/infer", infer(shape=["3", 3, 24, 32]), {}, 400),
        ("/v2/models/tiny/infer", infer(data=[[1], [2, 3]]), {}, 400),
        ("/v2/models/tiny/infer", infer(data=[256] * PIXELS.size), {}, 400),
        ("/v2/models/tiny/infer", infer(data=[True] * PIXELS.size), {}, 400),
        ("/v2/models/tiny/infer", infer(data=["1" * 5000]), {}, 400),
        ("/v2/models/tiny/infer", infer(datatype="FP32"), {}, 400),
        ("/v2/models/tiny/infer", infer(parameters={"binary_data_size": -1}), {}, 400),
        ("/v2/models/tiny/infer", infer(), {"Inference_Header_Content_Length": "9" * 11}, 400),
        ("/v2/models/tiny/infer", infer(), {"Inference_Header_Content_Length": "-1"}, 400),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused_with_a_sentence(
    server: Server, path: str, body: bytes | None, headers: dict[str, str] | str, status: int
) -> None:
    headers = {"Content_Type": headers} if isinstance(headers, str) else headers
    answer = server.ask(path, body, **headers)
    assert answer.status == status
    sentence = answer.json["error"]
    assert sentence.endswith(".")
    assert sentence.isprintable()


def test_a_wrong_place_method_or_form_is_told_with_what_to_do(server: Server) -> None:
    assert "/docs tells" in server.ask("/nothing").json["error"]
    other = server.ask("/v1/predict")
    assert (other.status, other.headers["allow"]) == (405, "POST")
    text = b'--cut\r\nContent-Disposition: form-data; name="images"\r\n\r\na.jpg\r\n--cut--\r\n'
    told = server.ask("/v1/predict", text, Content_Type="multipart/form-data; boundary=cut")
    assert "curl -F images=@a.jpg" in told.json["error"]
    body, kind = form({f"{n}.png": b"x" for n in range(7)})
    assert "at most 6 images" in server.ask("/v1/predict", body, Content_Type=kind).json["error"]


def test_a_model_s_folder_may_have_any_name(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'the "new" cells'
    folder.mkdir()
    (folder / "model.onnx").write_bytes((models / "tiny" / "model.onnx").read_bytes())
    with serving(folder) as server:
        assert server.ask("/v1/predict", picture(0)).json["model"] == folder.name
        assert server.ask("/v2/models/the%20%22new%22%20cells").json["name"] == folder.name


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /v1/predict HTTP/1.1\r\nContent-Length: 9\r\nContent-Length: 8\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nLong: " + b"x" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nEndless: " + b"x" * 100_000,
        b"GET /v2/health/live HTTP/1.1\r\n" + b"A: b\r\n" * 30_000 + b"\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1\r\nx\r\n0\r\nEndless: " + b"x" * 100_000,
        b"\x16\x03\x01\x02\x00" * 20 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
    ],
)
def test_what_is_no_http_is_answered_400_and_the_server_lives(server: Server, sent: bytes) -> None:
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=30)) as caller:
        caller.sendall(sent)
        assert caller.recv(100).startswith(b"HTTP/1.1 4")
    assert server.ask("/v2/health/live").status == 200


def test_hostile_requests_are_answered_4xx_and_none_is_left_unanswered(
    server: Server, tmp_path: Path
) -> None:
    Image.fromarray(drawn_fields.smear("monocyte", 1)).save(tmp_path / "cell.jpg")
    script = ROOT / "tools" / "serve_fuzz.py"
    address = f"127.0.0.1:{server.port}"
    done = subprocess.run(
        [sys.executable, script, address, tmp_path, "--requests", "45", "--model", "tiny"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert server.ask("/v2/health/live").status == 200


def test_a_bomb_costs_its_own_row_alone(server: Server) -> None:
    """A PNG that says it has ten billion pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + bytes(4)
    body, kind = form({"good.png": picture(1), "bomb.png": bomb})
    good, bad = server.ask("/v1/predict", body, Content_Type=kind).json["rows"]
    assert "tasks" in good
    assert "error" in bad


def test_metrics_count_what_was_done_and_name_nobody(server: Server) -> None:
    body, kind = form({"secret-name.png": picture(1), "bad.png": b"x"})
    server.ask("/v1/predict", body, Content_Type=kind)
    text = server.ask("/metrics").body.decode()
    assert 'wbczoo_requests_total{route="/v1/predict",status="200"}' in text
    assert 'wbczoo_images_total{model="tiny"}' in text
    assert 'wbczoo_refusals_total{reason="image"}' in text
    assert "wbczoo_images_in_hand 0.0" in text
    assert "secret-name" not in text


def test_the_interface_is_described_and_every_place_is_in_it(server: Server) -> None:
    document = server.ask("/openapi.json").json
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        place = path.replace("{model}", "tiny").replace("{version}", "1")
        for method in methods:
            body = b"" if method == "post" else None
            assert server.ask(place, body).status != 404, path
    page = server.ask("/docs").body.decode()
    assert "/v1/predict" in page
    assert "http://" not in page.replace("http://HOST:PORT", "")  # it fetches nothing


@pytest.fixture(scope="module")
def guarded(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for a token, has two places, and a model that never answers."""
    tokens = tmp_path_factory.mktemp("tokens") / "tokens"
    tokens.write_text(f"another\n{TOKEN}\n")
    with serving(
        models / "tiny", models / "endless", "--token-file", tokens, "--queue", 2, "--timeout", 1,
        "--time-limit", 0.5,
    ) as started:  # fmt: skip
        yield started


BEARER = {"Authorization": f"Bearer {TOKEN}"}


def test_without_the_right_token_only_health_is_told(guarded: Server) -> None:
    assert guarded.ask("/v2/health/ready").status == 200
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
        assert guarded.ask("/v1/predict", picture(1), **headers).status == 401
        assert guarded.ask("/metrics", **headers).status == 401
    assert guarded.ask("/v1/predict", picture(1), **BEARER).status == 200


def test_who_comes_while_all_places_are_taken_is_told_when_to_ask_again(guarded: Server) -> None:
    def ask(_: int) -> tuple[int, bool]:
        found = guarded.ask("/v1/predict?model=endless", picture(1), **BEARER)
        return found.status, found.headers.get("retry-after") in ("1", "2", "3")

    with ThreadPoolExecutor(8) as callers:
        found = list(callers.map(ask, range(8)))
    # The endless model is stopped by its time limit, which its callers hear of.
    assert set(found) == {(500, False), (503, True)}
    assert guarded.ask("/v1/predict", picture(1), **BEARER).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nLonely",
        b"POST /v1/predict HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a-token\r\n"
        b"Content-Length: 100\r\n\r\nx",
    ],
)
def test_slow_callers_are_cut(guarded: Server, sent: bytes) -> None:
    with closing(socket.create_connection(("127.0.0.1", guarded.port), timeout=30)) as caller:
        caller.sendall(sent)
        heard = b""
        with suppress(ConnectionResetError):
            while piece := caller.recv(1000):
                heard += piece
    assert heard == b"" or heard.startswith(b"HTTP/1.1 408")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_sigterm_answers_whoever_asked_and_ends(models: Path) -> None:
    with serving(models / "endless", "--time-limit", 1) as started:
        with ThreadPoolExecutor(1) as callers:
            asked = callers.submit(started.ask, "/v1/predict", picture(1))
            while "wbczoo_images_in_hand 1.0" not in started.ask("/metrics").body.decode():
                pass
            started.process.send_signal(signal.SIGTERM)
            assert asked.result().status == 500  # its time was up, and it was told
        assert started.process.wait(60) == 0
        with pytest.raises(ConnectionRefusedError):
            started.ask("/v2/health/live")
