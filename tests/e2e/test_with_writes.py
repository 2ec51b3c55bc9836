"""Writes inside WITH and COPY keep both models equal among other sessions and
while the phases move."""

import random
import threading

import psycopg
import pytest

import harness
import shop
from test_migration import (anomaly, clean, in_background, wait_for_work,
                            wait_until_blocked)

UPDATE = ('WITH a AS (UPDATE inovices SET amount = amount + 1 WHERE id = {} '
          'RETURNING *) SELECT id, amount FROM a')
DELETE = ('WITH a AS (DELETE FROM inovices WHERE id = 5 RETURNING id) '
          'SELECT count(*) FROM a')


@pytest.mark.parametrize('phase', ['dual_write', 'read_new', 'write_new'])
def test_two_updates_of_one_row_leave_both_models_equal(postgres, start_proxy,
                                                        phase):
    database = f'with_two_{phase}'
    proxy, first, second = anomaly(postgres, start_proxy, database, phase)
    assert first.execute(UPDATE.format(5)).fetchall() == [(5, 6)]
    waiting = in_background(
        lambda: second.execute(UPDATE.format(5)).fetchall())
    wait_until_blocked(postgres, database)
    first.commit()
    assert waiting.result(harness.PATIENCE_S) == [(5, 7)]
    second.commit()
    assert postgres.execute('SELECT (SELECT amount FROM inovices WHERE id = 5)'
                            ', (SELECT amount_cents FROM invoices WHERE id = '
                            '5)', database) == [(7, 700)]
    clean(proxy)


@pytest.mark.parametrize('phase', ['dual_write', 'write_new'])
def test_a_delete_that_waits_for_an_update_leaves_no_orphan(
        postgres, start_proxy, phase):
    database = f'with_orphan_{phase}'
    proxy, first, second = anomaly(postgres, start_proxy, database, phase)
    # As if the row had not been backfilled yet.
    target = 'invoices' if phase == 'dual_write' else 'inovices'
    postgres.execute(f'DELETE FROM {target} WHERE id = 5', database)
    first.execute(UPDATE.format(5))
    waiting = in_background(lambda: second.execute(DELETE).fetchall())
    wait_until_blocked(postgres, database)
    first.commit()
    assert waiting.result(harness.PATIENCE_S) == [(1,)]
    second.commit()
    assert postgres.execute('SELECT count(*) FROM invoices WHERE id = 5',
                            database) == [(0,)]
    clean(proxy)


def move_money(c, a, b):
    """Some writes that leave the sum as it is; a < b, always in this order,
    so that sessions wait and do not deadlock."""
    with c.transaction():
        row = c.execute(
            'WITH taken AS (UPDATE inovices SET amount = amount - %s '
            'WHERE id = %s RETURNING *) '
            'UPDATE inovices AS i SET amount = i.amount + %s FROM taken '
            'WHERE i.id = %s RETURNING taken.id, i.id', [3, a, 3, b]
        ).fetchone()
    assert row == (a, b)
    with c.transaction():
        row = c.execute(
            'WITH taken AS (UPDATE inovices SET amount = amount + 3 '
            'WHERE id = %s), given AS (INSERT INTO inovices (customr, amount) '
            "VALUES ('temporary', -3) RETURNING id, amount) "
            'SELECT id, amount FROM given', [a]).fetchone()
    assert row[1] == -3
    with c.transaction():
        with c.cursor() as cursor, cursor.copy(
                'COPY (WITH gone AS (DELETE FROM inovices WHERE id = '
                f'{row[0]} RETURNING amount) UPDATE inovices AS i '
                'SET amount = i.amount + gone.amount FROM gone '
                f'WHERE i.id = {a} RETURNING i.id, gone.amount) TO STDOUT'
        ) as copy:
            assert b''.join(bytes(block) for block in copy) == (
                f'{a}\t-3\n'.encode())


def test_money_moves_while_the_phases_do(postgres, start_proxy):
    rows = 500
    shop.make(postgres, 'with_money', rows)
    total = postgres.execute('SELECT sum(amount) FROM inovices',
                             'with_money')[0][0]
    proxy = start_proxy(postgres, shop.spec('with_money'))
    stop, errors, done = threading.Event(), [], [0] * 4

    def work(seed):
        rng = random.Random(seed)
        try:
            with proxy.connect('with_money', autocommit=False) as c:
                c.prepare_threshold = 2 if seed % 2 else None
                while not stop.is_set():
                    move_money(c, *sorted(rng.sample(range(1, rows + 1), 2)))
                    done[seed] += 1
        except (psycopg.Error, AssertionError) as e:
            errors.append((seed, repr(e), proxy.phase('inovices_typo')))
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    try:
        for move in ('expanded', 'dual_write', 'read_new', 'write_new', 'back',
                     'write_new', 'new_only', 'contracted'):
            if move == 'back':
                proxy.rollback('inovices_typo')
            else:
                proxy.advance('inovices_typo', move)
            wait_for_work(done, errors)
            if move in ('read_new', 'write_new'):
                clean(proxy)
            if errors:
                break
    finally:
        stop.set()
        for t in threads:
            t.join(harness.PATIENCE_S)
    assert not errors, errors
    assert postgres.execute('SELECT sum(amount_cents), count(*) FROM invoices',
                            'with_money') == [(100 * total, rows)]
