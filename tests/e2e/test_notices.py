"""What the server says beside a result, NOTICE, WARNING and INFO, names the old
model in every phase, as a direct session's does."""

import re

import pytest

import harness
import shop

SETUP = '''
DO $$ BEGIN CREATE ROLE notices; EXCEPTION WHEN duplicate_object THEN END $$;
GRANT SELECT ON inovices TO notices;
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE NOTICE 'a table like "invoices"'; RETURN NEW; END $$;
CREATE TABLE others (id integer PRIMARY KEY, inovice integer
    REFERENCES inovices);
CREATE TRIGGER tell BEFORE INSERT ON others FOR EACH ROW
    EXECUTE FUNCTION tell();
'''

STATEMENTS = [
    'ANALYZE VERBOSE inovices',
    'BEGIN; TRUNCATE inovices CASCADE; ROLLBACK',
    'BEGIN; SET ROLE notices; GRANT SELECT ON inovices TO PUBLIC; ROLLBACK',
    'BEGIN; SET ROLE notices; REVOKE SELECT ON inovices FROM PUBLIC; ROLLBACK',
    'INSERT INTO others SELECT 1 + max(id), 1 FROM inovices',
    'DELETE FROM others',
]


def said(wire, sql):
    """Severity, SQLSTATE and message of each, without numbers; the error."""
    wire.raw(harness.message('Q', sql.encode() + b'\0'))
    seen = []
    for kind, body in wire.until('Z'):
        if kind in 'NE':
            f = harness.error_fields(body)
            seen.append((kind, f['S'], f['C'], steady(f['M']),
                         steady(f.get('W', ''))))
    return seen


def steady(text):
    """What differs from run to run is cut: all but the first line's words."""
    return re.sub(r'notices_\w+\.', 'DATABASE.', re.sub(
        r'\b\d+\b', 'N', text.split('\n')[0]))


def transcript(port, database):
    wire = harness.Wire(port, dbname=database)
    seen = [said(wire, s) for s in STATEMENTS]
    wire.close()
    return seen


@pytest.fixture(scope='module')
def direct(postgres):
    shop.make(postgres, 'notices_direct')
    postgres.execute(SETUP, 'notices_direct')
    seen = transcript(postgres.port, 'notices_direct')
    assert all(seen[:-1]), seen
    return seen


@pytest.mark.parametrize('phase', shop.PHASES)
def test_notices_name_the_old_model(postgres, start_proxy, direct, phase):
    database = f'notices_{phase}'
    shop.make(postgres, database)
    postgres.execute(SETUP, database)
    proxy = start_proxy(postgres, shop.spec(database))
    proxy.advance('inovices_typo', *shop.PHASES[1:shop.PHASES.index(phase) + 1])
    got = transcript(proxy.port, database)
    for statement, expected, seen in zip(STATEMENTS, direct, got):
        if any(kind == 'E' and code == '0A000'
               for kind, _, code, *_ in seen):
            continue
        # While both are kept, ANALYZE is of both.
        assert sorted(set(seen)) == sorted(set(expected)), statement
