"""Statements on whole relations, through all phases: what they leave in the
database is there for both models, and for the new one at the end."""

import threading

import psycopg
import pytest

import harness
import shop


@pytest.fixture
def walk(postgres, start_proxy):
    shop.make(postgres, 'utility')
    postgres.execute('''
DO $$ BEGIN CREATE ROLE clerk LOGIN; EXCEPTION WHEN duplicate_object THEN
NULL; END $$''', 'utility')
    proxy = start_proxy(postgres, shop.spec('utility'))

    def phases():
        yield 'planned'
        for phase in shop.PHASES[1:]:
            proxy.advance('inovices_typo', phase)
            yield phase
    return proxy, phases


def may(proxy, privilege_of):
    """Can clerk do it, through pgtandem, now?"""
    try:
        with proxy.connect('utility', user='clerk') as c:
            c.execute(privilege_of)
        return True
    except psycopg.errors.InsufficientPrivilege:
        return False


def test_privileges_are_those_that_were_granted(walk):
    proxy, phases = walk
    for phase in phases():
        with proxy.connect('utility') as c:
            c.execute('REVOKE ALL ON inovices FROM clerk')
            assert not may(proxy, 'SELECT id FROM inovices'), phase
            c.execute('GRANT SELECT ON inovices TO clerk')
            assert may(proxy, 'SELECT id FROM inovices'), phase
            update = 'UPDATE inovices SET amount = 1 WHERE id = 1'
            assert not may(proxy, update), phase
            c.execute('GRANT UPDATE ON TABLE inovices TO clerk')
            assert may(proxy, update), phase


def test_maintenance_runs_outside_blocks(walk):
    proxy, phases = walk
    for phase in phases():
        with proxy.connect('utility') as c:
            for sql in ('VACUUM inovices', 'VACUUM (ANALYZE) public.inovices',
                        'ANALYZE inovices (customr, amount)'):
                assert c.execute(sql).statusmessage == sql.split()[0]
            c.execute('BEGIN')
            with pytest.raises(psycopg.errors.ActiveSqlTransaction):
                c.execute('VACUUM inovices')
            c.execute('ROLLBACK')


def test_a_table_lock_keeps_writers_out(walk):
    proxy, phases = walk
    for phase in phases():
        with proxy.connect('utility') as c, proxy.connect('utility') as other:
            done = threading.Event()

            def write():
                other.execute('UPDATE inovices SET amount = 2 WHERE id = 2')
                done.set()
            c.execute('BEGIN')
            c.execute('LOCK TABLE inovices IN SHARE ROW EXCLUSIVE MODE')
            writer = threading.Thread(target=write)
            writer.start()
            assert not done.wait(0.3), phase
            assert c.execute('UPDATE inovices SET amount = amount + 1 WHERE'
                             ' id = 2').rowcount == 1
            c.execute('COMMIT')
            harness.wait_for('the writer', done.is_set)
            writer.join()


def test_a_dump_runs_through_every_phase(walk, postgres):
    import subprocess
    proxy, phases = walk
    for phase in phases():
        done = subprocess.run(
            [harness.CLIENTS / 'pg_dump', '--inserts', '-t', 'payments', '-d',
             proxy.conninfo('utility')], text=True, capture_output=True)
        assert done.returncode == 0, (phase, done.stderr)
        with proxy.connect('utility') as c:
            with c.cursor().copy('COPY inovices TO STDOUT') as copy:
                assert sum(1 for _ in copy.rows()) == 100
