"""What is said to obstore of each kind of store, as obstore understood it; no server is asked."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from lowbg.errors import ConfigError
from lowbg.storage import objects, store_settings

pytest.importorskip("obstore")


@pytest.mark.parametrize(
    ("url", "kind", "config"),
    [
        ("s3://lake/a/b", "S3Store", {"bucket": "lake"}),
        ("s3a://lake/a/b", "S3Store", {"bucket": "lake"}),
        ("gs://lake/a/b", "GCSStore", {"bucket": "lake"}),
        ("az://box/a/b", "AzureStore", {"container_name": "box"}),
        ("abfs://box/a/b", "AzureStore", {"container_name": "box"}),
        ("abfss://box@acct.dfs.core.windows.net/a/b", "AzureStore",
         {"account_name": "acct", "container_name": "box"}),
    ],
)  # fmt: skip
def test_urls_and_settings(
    url: str, kind: str, config: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acct")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("LOWBG_STORE_TIMEOUT", "7")
    monkeypatch.setattr(store_settings, "aws_profile", lambda environment: {})
    store = objects._connect(url)
    assert type(store).__name__ == kind
    assert store.prefix == "a/b"
    assert dict(store.config) == config
    assert store.client_options["timeout"] == "7s"
    assert store.client_options["allow_http"] == "false"
    assert store.retry_config["max_retries"] == store_settings.OBSTORE_RETRIES
    assert store.retry_config["backoff"]["max_backoff"] == dt.timedelta(seconds=15)


def test_an_endpoint_of_ones_own_may_speak_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acct")
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", "http://127.0.0.1:10000/acct")
    assert objects._connect("az://box").client_options["allow_http"] == "true"


def test_an_account_that_is_not_named_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_CONNECTION_STRING"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"az://box: .*[Aa]ccount"):
        objects._connect("az://box")


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "minio", "htp://minio:9000"])
def test_an_endpoint_that_is_no_url_is_said(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    for reach in (objects._connect, objects.file_system):
        with pytest.raises(ConfigError, match="AWS_ENDPOINT_URL is no URL: it begins with http://"):
            reach("s3://lake/a")
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    objects._connect("gs://lake/a")


def test_a_profiles_endpoint_may_speak_plainly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[default]\nendpoint_url = http://127.0.0.1:9000\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_PROFILE", "AWS_CONFIG_FILE", *store_settings.S3_ENDPOINTS):
        monkeypatch.delenv(name, raising=False)
    assert objects._connect("s3://lake").client_options["allow_http"] == "true"


def test_a_profile_that_is_nowhere_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no profile 'prod'"):
        store_settings.aws_profile({"HOME": str(tmp_path), "AWS_PROFILE": "prod"})
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    assert store_settings.aws_profile({"HOME": str(tmp_path), "AWS_PROFILE": "prod", **keys}) == {}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Generic S3 error: … 404 Not Found: <?xml?>\n<Code>NoSuchBucket</Code>", "no such bucket"),
        ("Error performing PUT http://169.254.169.254/latest/api/token in 1 ms", "no credentials"),
        ("Error performing GET http://metadata.google.internal/computeMetadata", "no credentials"),
        ("Error performing GET http://127.0.0.1:9000/lake: <?xml?>", "^Error performing GET"),
    ],
)
def test_frequent_errors_are_in_plain_words(said: str, words: str) -> None:
    with pytest.raises(OSError, match=words):
        raise OSError(objects.in_words(OSError(said)))
