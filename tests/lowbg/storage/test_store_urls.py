"""What is said to obstore of each kind of store, as obstore understood it; no server is asked."""

from __future__ import annotations

import datetime as dt

import pytest

from lowbg.errors import ConfigError
from lowbg.storage import objects

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
    monkeypatch.setattr(objects, "aws_profile", lambda environment: {})
    store = objects._connect(url)
    assert type(store).__name__ == kind
    assert store.prefix == "a/b"
    assert dict(store.config) == config
    assert store.client_options["timeout"] == "7s"
    assert store.client_options["allow_http"] == "false"
    assert store.retry_config["max_retries"] == objects.OBSTORE_RETRIES
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
