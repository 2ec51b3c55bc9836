"""What a session remembers for its client: prepared statements that vanish,
texts out of reach, statements too long to be rewritten, pauses, idle memory."""

import os
import threading
import time

import psycopg
import psycopg.types.string
import pytest

import harness
import shop


@pytest.fixture(scope='module')
def dual(postgres):
    """A proxy with the shop in dual_write."""
    shop.make(postgres, 'sessions')
    proxy = harness.Proxy(postgres, shop.spec('sessions'))
    proxy.advance('inovices_typo', 'expanded', 'dual_write')
    yield proxy
    proxy.destroy()


def fails(connection, sql, sqlstate, words=''):
    with pytest.raises(psycopg.Error) as e:
        connection.execute(sql)
    assert e.value.sqlstate == sqlstate, e.value
    assert words in str(e.value)


def ask(wire, *messages):
    """Sends messages and a Sync; the types and bodies of the answers."""
    wire.raw(b''.join(messages) + harness.SYNC)
    return wire.until('Z')


def types(answers):
    return ''.join(kind for kind, _ in answers)


SELECT = 'SELECT amount FROM inovices WHERE id = 3'


@pytest.mark.parametrize('command', [
    'DEALLOCATE s', 'deallocate PREPARE "s"', 'DEALLOCATE ALL',
    'DISCARD ALL'])
def test_a_statement_deallocated_in_sql_is_gone(dual, command):
    wire = harness.Wire(dual.port, dbname='sessions')
    assert types(ask(wire, harness.parse(SELECT, 's'))) == '1Z'
    assert types(ask(wire, harness.bind(name='s'), harness.execute())) == \
        '2DCZ'
    wire.query(command)
    answers = ask(wire, harness.bind(name='s'))
    assert types(answers) == 'EZ'
    assert harness.error_fields(answers[0][1])['C'] == '26000'
    assert types(ask(wire, harness.parse(SELECT, 's'))) == '1Z'
    wire.close()


def test_a_failed_parse_leaves_the_statement_before_it(dual):
    wire = harness.Wire(dual.port, dbname='sessions')
    assert types(ask(wire, harness.parse(SELECT, 's'))) == '1Z'
    assert types(ask(wire, harness.parse('SELECT 1', 's'))) == 'EZ'
    assert types(ask(wire, harness.bind(name='s'), harness.execute())) == \
        '2DCZ'
    wire.close()


def test_a_refusal_in_the_middle_of_a_pipeline(dual):
    wire = harness.Wire(dual.port, dbname='sessions')
    answers = ask(wire,
                  harness.parse('SELECT 1'), harness.bind(),
                  harness.execute(),
                  harness.parse('SELECT * FROM invoices'), harness.bind(),
                  harness.execute(),
                  harness.parse('SELECT 2'), harness.bind())
    assert types(answers) == '12DCEZ'
    fields = harness.error_fields(answers[4][1])
    assert fields['C'] == '0A000' and 'pgtandem' in fields['M']
    assert types(wire.query('SELECT 1')) == 'TDCZ'
    wire.close()


def test_a_refusal_fails_the_transaction_block(dual):
    with dual.connect('sessions', autocommit=False) as c:
        c.execute('SELECT 1')
        fails(c, 'SELECT * FROM invoices', '0A000', 'pgtandem')
        fails(c, 'SELECT 1', '25P02')
        c.rollback()
        assert c.execute(SELECT).fetchone() == (3,)


def test_a_text_too_long_to_be_rewritten(dual):
    """5 MB stream through; if they name the relation, the server refuses them
    and the client is told why."""
    pad = "'" + 'x' * 5_000_000 + "'"
    with dual.connect('sessions') as c:
        assert c.execute(f'SELECT length({pad})').fetchone() == (5_000_000,)
        for sql in (f'SELECT {pad}, amount FROM inovices WHERE id = 1',
                    f'UPDATE inovices SET note = left({pad}, 3)'):
            fails(c, sql, '54001', 'too long')
            fails(c, f'{sql} -- %(x)s'.replace('%', '%%'), '54001')
        assert c.execute('SELECT 1', prepare=True).fetchone() == (1,)
        assert c.execute('SELECT count(*) FROM inovices WHERE note = %s',
                         ('xxx',)).fetchone() == (0,)
        with pytest.raises(psycopg.Error) as e:
            c.execute(f'SELECT {pad}, %s::int, amount FROM inovices', (1,))
        assert e.value.sqlstate == '54001'


def test_a_question_that_fails_is_the_clients_error(postgres, dual):
    """After a change of search_path the session asks again what names mean;
    when the server gives no answer, the client hears why, once."""
    with dual.connect('sessions') as c:
        c.execute("SET search_path = public; SET statement_timeout = '300ms'")
        with postgres.connect('sessions', autocommit=False) as locker:
            locker.execute('LOCK pg_catalog.pg_class IN ACCESS EXCLUSIVE MODE')
            fails(c, SELECT, '57014')
        c.execute('SET statement_timeout = 0')
        assert c.execute(SELECT).fetchone() == (3,)


def test_pause_holds_transactions_and_resume_lets_them_go(dual):
    with dual.connect('sessions') as c, \
            dual.connect('sessions', autocommit=False) as busy:
        busy.execute('SELECT 1')
        dual.console('PAUSE')
        try:
            got = []
            waiting = threading.Thread(
                target=lambda: got.append(c.execute('SELECT 2').fetchone()))
            waiting.start()
            assert busy.execute('SELECT 3').fetchone() == (3,)
            busy.commit()
            time.sleep(0.3)
            assert not got
        finally:
            dual.console('RESUME')
        waiting.join(harness.PATIENCE_S)
        assert got == [(2,)]


def test_an_idle_client_costs_little(dual):
    clients = [dual.connect('sessions') for _ in range(20)]
    before = dual.memory_kb()
    clients += [dual.connect('sessions') for _ in range(100)]
    for c in clients:
        c.execute(SELECT)
    each = (dual.memory_kb() - before) / 100
    for c in clients:
        c.close()
    sanitized = 'asan' in os.path.realpath(dual.binary)
    assert each < (200 if sanitized else 16), f'{each} kB'


UPDATE = 'UPDATE inovices SET amount = amount + 1 WHERE id = 9'
RETURNING = UPDATE + ' RETURNING amount'


def by_parse(wire, sql):
    wire.raw(harness.parse(sql) + harness.bind() + harness.describe() +
             harness.execute() + harness.SYNC)
    return wire.until('Z')


def by_prepared(wire, sql):
    wire.raw(harness.parse(sql, 'named') + harness.SYNC)
    wire.until('Z')
    wire.raw(harness.bind(name='named', results=(1,)) +
             harness.execute(rows=5) + harness.SYNC)
    return wire.until('Z')


def by_flush(wire, sql):
    """The Sync comes when the server may have failed already."""
    wire.raw(harness.parse(sql) + harness.bind() + harness.execute() +
             harness.FLUSH)
    wire.until('2')
    time.sleep(3)
    wire.raw(harness.SYNC)
    return wire.until('Z')


def by_two(wire, sql):
    wire.raw(harness.parse(sql) + harness.bind() + harness.execute() +
             harness.bind() + harness.execute() + harness.SYNC)
    return wire.until('Z')


def by_block(wire, sql):
    wire.query('BEGIN')
    wire.raw(harness.parse(sql) + harness.bind() + harness.execute() +
             harness.SYNC)
    return wire.until('Z')


def kinds(messages):
    return ''.join(kind for kind, _ in messages if kind != 'N')


def written_among(postgres, proxy, write, other_does, **options):
    """What `write` is answered while somebody else holds the new row, and the
    amounts before.  On a machine that is slow the write may have looked for a
    deadlock before the other has come to wait, which then is the one that
    fails: again, with more time."""
    for seconds in (2, 10, 60):
        before = amounts(postgres)
        try:
            return before, answered_among(postgres, proxy, write, other_does,
                                          seconds, **options)
        except psycopg.errors.DeadlockDetected:
            pass
    raise AssertionError('never at the same time')


def answered_among(postgres, proxy, write, other_does, seconds, **options):
    got = []
    with postgres.connect('sessions', autocommit=False) as other:
        other.execute(f"SET deadlock_timeout = '{seconds + 30}s'")
        other.execute('UPDATE invoices SET amount_cents = amount_cents '
                      'WHERE id = 9')
        # A backend looks for a deadlock once: not before the other waits.
        settings = (options.get('options', '') +
                    f' -c deadlock_timeout={seconds}s')
        wire = harness.Wire(proxy.port, dbname='sessions',
                            **{**options, 'options': settings})
        writer = threading.Thread(target=lambda: got.extend(write(wire)))
        writer.start()
        harness.wait_for('the write waits for the new row', lambda:
                         postgres.execute(
                             'SELECT 1 FROM pg_stat_activity WHERE '
                             f'{other.info.backend_pid} = ANY '
                             '(pg_blocking_pids(pid))'))
        try:
            other.execute(other_does)
            other.commit()
        finally:
            other.rollback()
            writer.join(harness.PATIENCE_S)
            wire.close()
    return got


def amounts(postgres):
    return postgres.execute('SELECT amount, amount_cents FROM inovices JOIN '
                            'invoices USING (id) WHERE id = 9', 'sessions')[0]


LOCK_OLD = 'SELECT 1 FROM inovices WHERE id = 9 FOR UPDATE'
REPEATABLE = {'options': '-c default_transaction_isolation=repeatable\\ read'}


@pytest.mark.parametrize('other_does, options', [
    (LOCK_OLD, {}), ('SELECT 1', REPEATABLE)],
    ids=['deadlock', 'serialization'])
@pytest.mark.parametrize('write, answer', [
    (lambda w: w.query(UPDATE), 'CZ'),
    (lambda w: w.query(RETURNING), 'TDCZ'),
    (lambda w: by_parse(w, UPDATE), '12nCZ'),
    (lambda w: by_parse(w, RETURNING), '12TDCZ'),
    (lambda w: by_prepared(w, UPDATE), '2CZ'),
    (lambda w: by_prepared(w, RETURNING), '2DCZ'),
    (lambda w: by_parse(w, 'UPDATE inovices SET id = 9, amount = amount + 1 '
                        'WHERE id = 9 RETURNING amount'), '12TDCZ'),
], ids=['query', 'query_rows', 'parse', 'parse_rows', 'prepared',
        'prepared_rows', 'key'])
def test_a_write_that_only_its_sync_brought_down_is_sent_again(
        postgres, dual, write, answer, other_does, options):
    """Somebody locks the new row, then waits for the old one, which the
    client's write holds; or changes it after the write's snapshot."""
    before, got = written_among(postgres, dual, write, other_does, **options)
    assert kinds(got) == answer, got
    assert amounts(postgres) == (before[0] + 1, before[1] + 100)


@pytest.mark.parametrize('write, answer', [
    (lambda w: by_flush(w, UPDATE), 'EZ'),
    (lambda w: by_two(w, UPDATE), '12EZ'),
    (lambda w: by_block(w, UPDATE), '12EZ'),
    (lambda w: w.query(UPDATE + ';' + UPDATE), 'EZ'),
], ids=['flush', 'two', 'block', 'text_of_two'])
def test_what_is_more_than_one_statement_is_not_sent_again(
        postgres, dual, write, answer):
    before, got = written_among(postgres, dual, write, LOCK_OLD)
    assert kinds(got) == answer, got
    assert amounts(postgres) == before


@pytest.mark.parametrize('setting, value, text', [
    ('standard_conforming_strings', 'off', r"'it\'s'"),
    ('client_encoding', 'SJIS', "'表'")])
def test_a_text_that_a_setting_makes_unreadable_is_refused(
        dual, setting, value, text):
    write = f'INSERT INTO inovices (customr, amount) VALUES ({text}, 1)'
    parameter = ('INSERT INTO inovices (customr, amount) VALUES (%s, 1) '
                 'RETURNING customr')
    with dual.connect('sessions', options=f'-c {setting}={value}') as c:
        fails(c, write, '0A000', setting)
        assert c.execute(f'SELECT {text}').fetchone()
        assert c.execute(parameter, ['表']).fetchone() == ('表',)
        c.execute(f'SET {setting} = DEFAULT')
        fails(c, write, '0A000', setting)
        c.execute(f"SET {setting} = "
                  f"{'on' if value == 'off' else 'UTF8'}")
        assert c.execute(SELECT).fetchone()
        c.execute(f'SET {setting} = {value}')
        fails(c, write, '0A000', setting)
        c.execute(f'BEGIN; SET LOCAL {setting} = '
                  f"{'on' if value == 'off' else 'UTF8'}")
        assert c.execute(write.replace(text, "'plain'")).rowcount == 1
        c.execute('ROLLBACK')
        fails(c, write, '0A000', setting)


@pytest.mark.parametrize('value', [True, 'x'])
def test_a_declared_parameter_is_assigned_as_its_type(
        postgres, dual, value):
    """A boolean, or a text (declared), for a number."""
    kind = {bool: 'boolean', str: 'text'}[type(value)]
    sql = 'UPDATE inovices SET amount = %s WHERE id = 4'
    dual.advance('inovices_typo', 'read_new', 'write_new')
    try:
        for place in postgres, dual:
            with place.connect('sessions') as c:
                if kind == 'text':
                    c.adapters.register_dumper(
                        str, psycopg.types.string.StrDumper)
                with pytest.raises(psycopg.errors.DatatypeMismatch) as e:
                    c.execute(sql, [value])
                assert f'is of type integer but expression is of type {kind}'\
                    in str(e.value)
                c.execute(sql, [5])
    finally:
        dual.console('ROLLBACK inovices_typo')
        dual.console('ROLLBACK inovices_typo')
