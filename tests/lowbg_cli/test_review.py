"""`lowbg review` through a real Chromium, and without one."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from examples.make_sample import ai_documents, human_documents
from tests.browser import chromium, opened, overflow, violations
from typer.testing import CliRunner, Result

from lowbg_cli.app import app

Run = Callable[..., Result]
Start = Callable[..., subprocess.Popen[bytes]]
EVIL = '</script><script>alert("x")</script>\x1b[2J\u202e<img src=x onerror=alert(1)>'
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("uvicorn")
    pytest.importorskip("starlette")
    folder = tmp_path_factory.mktemp("review")
    rows = [{"text": f"{own['text']} {EVIL}"} for own in (*human_documents(), *ai_documents())]
    (folder / "data.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    done = CliRunner().invoke(
        app, ["filter", str(folder / "data.jsonl"), "-o", str(folder / "out"), "-q"]
    )
    assert done.exit_code == 0, done.stderr
    return folder / "out"


@contextmanager
def served(start: Start, output: Path, labels: Path) -> Iterator[tuple[Any, str]]:
    process = start("review", output, "--labels", labels, "--documents", 40)
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line.decode())
        if " at http://127.0.0.1:" in said[-1]:
            break
    else:
        pytest.fail("".join(said))
    address = said[-1].split(" at ")[1].split(" ")[0]
    try:
        yield process, address
    finally:
        process.kill()
        process.communicate()


def standing(labels: Path) -> list[dict[str, Any]]:
    return [json.loads(each) for each in labels.read_text("utf-8").splitlines()[1:]]


def enter(page: Any, name: str) -> None:
    page.get_by_label("Your name").fill(name)
    with page.expect_navigation():
        page.get_by_role("button", name="Begin").click()


def press(page: Any, key: str) -> None:
    with page.expect_navigation():
        page.keyboard.press(key)


def test_two_reviewers_label_and_a_killed_review_goes_on(
    start: Start, run: Run, output: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.jsonl"
    with chromium() as browser:
        with served(start, output, labels) as (process, address):
            with opened(browser, address, 360) as page:
                enter(page, "ann")
                for i in range(15):
                    assert f"ann · {i} of 45" in page.locator("header p").inner_text()
                    press(page, "a" if i % 3 else "h")
                press(page, "z")
                assert "ann · 14 of 45" in page.locator("header p").inner_text()
                assert overflow(page) <= 0
                press(page, "v")
                assert "The verdict is" in page.locator(".note").inner_text()
                press(page, "u")
            process.send_signal(signal.SIGKILL)
            process.wait()
        kept = standing(labels)
        assert [own["undo"] for own in kept] == [False] * 15 + [True, False]
        assert [own["blind"] for own in kept[-1:]] == [False]
        # A line that was cut off by the kill.
        with labels.open("ab") as file:
            file.write(b'{"document":3,"lab')
        with served(start, output, labels) as (process, address):
            for name, first, count in (("ann", 15, 30), ("Zoë 李", 0, 12)):
                with opened(browser, address) as page:
                    enter(page, name)
                    for i in range(first, first + count):
                        assert f"{name} · {i} of 45" in page.locator("header p").inner_text()
                        press(page, "a" if i % 3 else "h")
                    if name == "ann":
                        assert "All 45 are labelled" in page.locator("main").inner_text()
                    page.get_by_role("link", name="Metrics", exact=True).click()
                    assert "39 documents count, 0 wait, 1 are" in page.locator("main").inner_text()
            # The page itself reads well; its scripts are its own.
            assert violations(browser, address) == []
            with opened(browser, address) as page:
                enter(page, "cid")
                assert page.locator("main script").count() == 0
                assert EVIL[:20] in page.locator(".text").inner_text()
                page.get_by_role("button", name="Close the review").click()
                assert "The review is closed" in page.locator("main").inner_text()
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0
            assert b"precision" in out
            assert b"alert" not in err
    assert "alert" not in labels.read_text("utf-8")
    told = json.loads(run("review", output, "--labels", labels, "--metrics", "--json").stdout)
    assert told["reviewers"] == {"ann": 45, "Zoë 李": 12}
    assert told["kappa"][0]["reviewers"] == ["Zoë 李", "ann"]
    assert told["kappa"][0]["kappa"] == pytest.approx(1.0)
    assert told["labelled"] == 39
    assert 0 <= told["precision"]["low"] <= told["precision"]["value"] <= told["precision"]["high"]


def asked(address: str, method: str, path: str, **headers: str) -> int:
    parts = urlsplit(address)
    assert parts.hostname is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


def test_only_its_own_page_may_ask(start: Start, output: Path, tmp_path: Path) -> None:
    with served(start, output, tmp_path / "labels.jsonl") as (process, address):
        home, host = urlsplit(address).path, urlsplit(address).netloc
        own = {"Origin": f"http://{host}", "Content-Length": "0"}
        assert asked(address, "GET", home) == 200
        assert asked(address, "GET", "/") == 404
        assert asked(address, "GET", "/x" + home[2:]) == 404
        assert asked(address, "GET", home, Host="evil.example") == 404
        assert asked(address, "POST", f"{home}undo", **own) == 303
        assert asked(address, "POST", f"{home}undo") == 403
        assert asked(address, "POST", f"{home}finish", **{**own, "Origin": "null"}) == 403
        assert asked(address, "POST", f"{home}label", **own) == 400
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    assert standing(tmp_path / "labels.jsonl") == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "no finished output of filter"),
        (("OUT", "--target-fpr", "0.2"), "made by another policy"),
        (("OUT", "--json"), "only with --metrics"),
        (("OUT", "--metrics"), "cannot be read"),
        (("OUT", "--labels", "README.md"), "not a file of labels"),
    ],
)
def test_what_it_refuses(
    run: Run, output: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "README.md").write_text("# Nothing\n")
    places = {"OUT": str(output), "README.md": str(tmp_path / "README.md")}
    given = [places.get(each, each) for each in arguments]
    if "--labels" not in given:
        given += ["--labels", str(tmp_path / "none.jsonl")]
    got = run("review", *given)
    assert got.exit_code == 2
    assert said in " ".join(got.stderr.split())


def test_thresholds_from_labels(run: Run, output: Path, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    from lowbg.config import Policy, RunConfig
    from lowbg.jobs.review.drawing import texts_of
    from lowbg.jobs.review.labels import LabelLine
    from lowbg.jobs.review.serve import open_labels

    labels, policy = tmp_path / "labels.jsonl", tmp_path / "policy.toml"
    file = open_labels(output, labels, RunConfig(policy=Policy()), 1_000)
    assert set(texts_of(output, file.design, RunConfig())) == set(range(len(file.design.documents)))
    assert run("calibrate", "--labels", labels, "-o", policy).exit_code == 2
    for place, drawn in enumerate(file.design.documents):
        human = file.design.strata[drawn.stratum].verdict == "human"
        file.add(LabelLine(document=place, label="human" if human else "ai", reviewer="ann"))
    told = json.loads(run("review", output, "--labels", labels, "--metrics", "--json").stdout)
    assert told["precision"]["value"] == told["recall"]["value"] == 1.0
    (tmp_path / "few.jsonl").write_text('{"text": "A few words of a person."}\n')
    assert run("filter", tmp_path / "few.jsonl", "-o", tmp_path / "other", "-q").exit_code == 0
    refused = run("review", tmp_path / "other", "--labels", labels, "--metrics")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "another output than the one that these labels are of" in refused.stderr
    got = run("calibrate", "--labels", labels, "-o", policy)
    assert got.exit_code == 0, got.stderr
    text = policy.read_text("utf-8")
    assert "documents labelled human, false-positive rate at most 0.0" in text
    assert "min_ai_scores" in text or "[calibration" in text
    refused = run("calibrate", "--labels", labels, "-o", policy, "--overwrite", "--stratum", "x")
    assert "leave out what says so elsewhere" in " ".join(refused.stderr.split())
