"""The runner for SQL of others (tests/corpus/run) on a script of our own."""

import pathlib
import re
import subprocess

import pytest

import harness

CORPUS = pathlib.Path(__file__).parents[1] / 'corpus'


def test_a_script_of_psql_gives_what_it_gives_direct():
    done = subprocess.run(
        ['/usr/bin/python3', CORPUS / 'run', CORPUS / 'example.sql',
         '--phase', 'write_new', '--phase', 'contracted'],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=6 * harness.PATIENCE_S)
    said = done.stdout
    assert done.returncode == 0, said
    assert 'orders ADD PRIMARY KEY ("article")' in said, said
    assert '5 statements before, 24 to run' in said, said
    assert re.findall(r'\d+ s: (.*)', said) == [
        '42 statements, 38 equal, 2 refused, '
        '2 rows not compared (time)'], said


@pytest.mark.parametrize('way, kind, phases', [
    ('parameters', 'child', ['write_new']),
    ('prepared', 'convert', ['dual_write', 'read_new', 'contracted'])])
def test_it_gives_the_same_sent_in_another_way(way, kind, phases):
    done = subprocess.run(
        ['/usr/bin/python3', CORPUS / 'run', CORPUS / 'example.sql', '--way',
         way, '--kind', kind, *(f'--phase={p}' for p in phases)],
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=6 * harness.PATIENCE_S)
    assert done.returncode == 0, done.stdout
    assert re.search(r'\d+ s: \d+ statements, \d+ equal', done.stdout), \
        done.stdout
