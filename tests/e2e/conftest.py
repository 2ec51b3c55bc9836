"""Fixtures that every end-to-end test may use."""

import pathlib
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import harness  # noqa: E402


# The longest first, so that the processes end at about the same time.
LONG = ('test_tpcb', 'test_quickstart', 'test_apps', 'test_sessions')


def pytest_configure(config):
    config.addinivalue_line(
        'markers', 'alone: measures time; runs when nothing else does')


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: not item.module.__name__.startswith(LONG))


@pytest.fixture(scope='session')
def postgres():
    """One PostgreSQL for the whole run; tests make databases of their own."""
    server = harness.Postgres()
    yield server
    server.destroy()


@pytest.fixture(scope='module')
def own_postgres():
    """A PostgreSQL that a module may stop and restart."""
    server = harness.Postgres()
    yield server
    server.destroy()


@pytest.fixture(scope='session')
def certificates():
    with tempfile.TemporaryDirectory(prefix='pgtandem-certs-') as folder:
        path = pathlib.Path(folder)
        harness.make_certificates(path)
        yield path


@pytest.fixture
def start_proxy():
    """Starts proxies that end, in order, with the test: a sanitizer's
    complaint or a bad exit status fails it."""
    started = []

    def start(*args, **kwargs):
        started.append(harness.Proxy(*args, **kwargs))
        return started[-1]
    yield start
    for proxy in reversed(started):
        proxy.destroy()
