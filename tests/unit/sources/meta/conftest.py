"""The stand-in for Meta: one for each file of tests, behaving well and at its first moment."""

from collections.abc import Iterator

import pytest

from tests.support.meta import NOW, Meta, running


@pytest.fixture(scope="module")
def _meta(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meta]:
    with running(tmp_path_factory.mktemp("meta")) as meta:
        yield meta


@pytest.fixture
def meta(_meta: Meta) -> Meta:
    """It, as if nobody had called yet."""
    _meta.behave()
    _meta.faults()
    _meta.set_clock(NOW)
    return _meta


@pytest.fixture(scope="module")
def _token(_meta: Meta) -> str:
    return _meta.token()


@pytest.fixture
def token(_token: str, meta: Meta) -> str:
    """A long-lived token that opens all of it."""
    return _token
