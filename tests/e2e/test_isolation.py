"""Sessions beside each other: small isolation specs, in every phase and while
the phase changes under open transactions (tests/corpus/isolation)."""

import pathlib
import sys

import psycopg
import pytest

import harness
import shop

CORPUS = harness.ROOT / 'tests' / 'corpus' / 'isolation'
sys.path.insert(0, str(CORPUS))

import comparison  # noqa: E402

SPECS = sorted((CORPUS / 'specs').glob('*.spec'))


def same(postgres, spec, variant, moves):
    run = comparison.Run(postgres, pathlib.Path(spec).read_text(), variant,
                           4 if moves else 40)
    run.run(moves=moves)
    assert run.counts
    assert not run.differences, run.differences


@pytest.mark.parametrize('spec', SPECS, ids=lambda s: s.stem)
def test_every_phase_is_as_direct(postgres, spec):
    same(postgres, spec, 'converted', False)


@pytest.mark.parametrize('spec', SPECS, ids=lambda s: s.stem)
def test_moves_amid_transactions_are_not_seen(postgres, spec):
    same(postgres, spec, 'converted', True)


def test_a_question_that_failed_is_asked_again(postgres, start_proxy):
    """What names mean is asked of the catalog, which another session locks
    for longer than the client's statements may take."""
    shop.make(postgres, 'isolation_asks')
    proxy = start_proxy(postgres, shop.spec('isolation_asks'))
    proxy.advance('inovices_typo', 'expanded', 'dual_write')
    with proxy.connect('isolation_asks') as c, \
            postgres.connect('isolation_asks', autocommit=False) as other:
        c.execute("SET lock_timeout = '100ms'")
        other.execute('LOCK TABLE pg_namespace IN ACCESS EXCLUSIVE MODE')
        with pytest.raises(psycopg.errors.LockNotAvailable):
            c.execute('SELECT count(*) FROM inovices')
        other.rollback()
        assert c.execute('SELECT count(*) FROM inovices').fetchone() == (100,)
