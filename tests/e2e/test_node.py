"""node-postgres with a pool, named and unnamed statements, through every
phase: each round sees what it would see direct."""

import json
import pathlib
import shutil
import subprocess
import threading

import pytest

import harness
import shop

HERE = pathlib.Path(__file__).parent / 'node'


@pytest.fixture(scope='module')
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp('node')
    for name in ('package.json', 'package-lock.json', 'workload.js'):
        shutil.copy(HERE / name, folder)
    subprocess.run(['npm', 'ci', '--no-audit', '--no-fund',
                    '--ignore-scripts'], cwd=folder, check=True,
                   capture_output=True)
    return folder


class Workload:
    def __init__(self, folder, side, database):
        self.lines = []
        self.process = subprocess.Popen(
            ['node', 'workload.js', f'postgres://postgres@{side.host}:'
             f'{side.port}/{database}'], cwd=folder, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def rounds(self, more):
        target = len(self.lines) + more

        def there():
            assert self.process.poll() is None, self.lines[-1:]
            return len(self.lines) >= target
        harness.wait_for(f'{more} rounds', there)

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(harness.PATIENCE_S) == 0, self.lines[-1:]
        self.reader.join()
        return self.lines


def test_node_postgres_sees_no_difference_in_any_phase(postgres, start_proxy,
                                                       node):
    shop.make(postgres, 'node_direct')
    direct = Workload(node, postgres, 'node_direct')
    direct.rounds(2)
    expected = direct.end()[:2]

    shop.make(postgres, 'node')
    proxy = start_proxy(postgres, shop.spec('node'))
    proxy.host = '127.0.0.1'
    client = Workload(node, proxy, 'node')
    try:
        client.rounds(4)
        for phase in shop.PHASES[1:]:
            proxy.advance('inovices_typo', phase)
            client.rounds(6)
    finally:
        lines = client.end()
    assert len(lines) > 30
    for n, line in enumerate(lines, 1):
        like = expected[1 - n % 2]
        assert line['fields'] == like['fields']
        assert line['updated'] == like['updated']
        assert line['inserted'][0] == n and (
            line['inserted'][1:] == like['inserted'][1:])
        assert line['read'] == [f'node {n}', n + 5, '555-1234']
        assert (line['gone'], line['after']) == (0, 0 if n % 2 else 1)
