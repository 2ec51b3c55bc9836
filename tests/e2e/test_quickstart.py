"""The README's first command, as written."""

import re
import subprocess

import harness


def test_quickstart_walks_to_the_end_without_a_client_error():
    done = subprocess.run([harness.ROOT / 'deploy' / 'quickstart', '--rows',
                           '20000'], capture_output=True, text=True,
                          timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert re.search(r'^ *errors: 0$', done.stdout, re.M), done.stdout
    for phase in ('planned', 'expanded', 'dual_write', 'read_new',
                  'write_new', 'new_only', 'contracted'):
        assert re.search(rf'^ *{phase} +\d+ statements/s +errors so far: 0$',
                         done.stdout, re.M), phase
        assert re.search(rf'^ *{phase} +\d+ statements, slowest',
                         done.stdout, re.M), phase
    assert 'inovices is gone from the database' in done.stdout


def test_quickstart_explains_itself_and_refuses_nonsense():
    script = harness.ROOT / 'deploy' / 'quickstart'
    done = subprocess.run([script, '--help'], capture_output=True, text=True)
    assert done.returncode == 0 and '--keep' in done.stdout
    done = subprocess.run([script, '--rows', 'many'], capture_output=True,
                          text=True)
    assert done.returncode == 2 and 'whole number' in done.stderr
