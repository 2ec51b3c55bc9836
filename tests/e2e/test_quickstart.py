"""The README's first command, as written."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import urllib.request
import uuid

import harness

SCRIPT = harness.ROOT / 'deploy' / 'quickstart'
COMMAND = [SCRIPT, '--rows', '20000']


def marked_processes(mark):
    """The command lines of the processes that have `mark` in their
    environment, by pid."""
    found = {}
    for folder in pathlib.Path('/proc').glob('[0-9]*'):
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / 'environ').read_bytes():
                words = (folder / 'cmdline').read_bytes()
                found[int(folder.name)] = words.replace(b'\0', b' ').decode()
    return found


def marked_environment():
    mark = f'quickstart-{uuid.uuid4()}'
    return mark, {**os.environ, 'TEST_MARK': mark}


def shell(command):
    done = subprocess.run(['bash', '-c', command], text=True,
                          capture_output=True, timeout=harness.PATIENCE_S)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def look_around(hint):
    psql = ' -X -At -v ON_ERROR_STOP=1 -c '
    count = shell(hint["the application's view"] + psql +
                  '"SELECT count(*) FROM inovices"')
    assert int(count) > 10000
    assert 'contracted' in shell(hint['the console'] + psql +
                                 '"SHOW MIGRATIONS"')
    assert shell(hint['the database itself'] + psql +
                 '''"SELECT to_regclass('inovices') IS NULL"''') == 't\n'
    with urllib.request.urlopen(hint['the status page']) as page:
        assert 'inovices_typo' in page.read().decode()


def test_quickstart_walks_to_the_end_and_keeps_what_it_says():
    mark, environment = marked_environment()
    done = subprocess.run([*COMMAND, '--keep'], capture_output=True, text=True,
                          timeout=6 * harness.PATIENCE_S, env=environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert re.search(r'^ *errors: 0$', done.stdout, re.M), done.stdout
    for phase in ('planned', 'expanded', 'dual_write', 'read_new',
                  'write_new', 'new_only', 'contracted'):
        assert re.search(rf'^ *{phase} +\d+ statements/s +errors so far: 0$',
                         done.stdout, re.M), phase
        assert re.search(rf'^ *{phase} +\d+ statements, slowest',
                         done.stdout, re.M), phase
    assert 'inovices is gone from the database' in done.stdout

    look, stop = re.search(r'Look around:\n(.*)Stop it all:\n(.*)^done',
                           done.stdout, re.M | re.S).groups()
    folder = pathlib.Path(re.search(r'/tmp/pgtandem\.\w+', stop).group())
    try:
        assert folder.exists()
        look_around(dict(re.findall(r'^ *(.*?): +(.*)$', look, re.M)))
    finally:
        shell(stop)
    assert not folder.exists()
    assert marked_processes(mark) == {}


def test_an_interrupted_quickstart_leaves_nothing():
    mark, environment = marked_environment()
    with subprocess.Popen(COMMAND, text=True, env=environment,
                          start_new_session=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as running:
        for line in running.stdout:
            if 'TO expanded' in line:
                break
        seen = marked_processes(mark)
        assert any(' serve ' in words for words in seen.values()), seen
        folder = re.search(r'/tmp/pgtandem\.\w+', ' '.join(seen.values()))
        os.killpg(running.pid, signal.SIGINT)
        said = running.stdout.read()
        assert running.wait(harness.PATIENCE_S) == 130, said[-3000:]
    assert not pathlib.Path(folder.group()).exists()
    assert marked_processes(mark) == {}


def test_quickstart_explains_itself_and_refuses_nonsense():
    done = subprocess.run([SCRIPT, '--help'], capture_output=True, text=True)
    assert done.returncode == 0 and '--keep' in done.stdout
    for wrong in (['many'], ['0'], []):
        done = subprocess.run([SCRIPT, '--rows', *wrong], capture_output=True,
                              text=True)
        assert done.returncode == 2 and 'whole number' in done.stderr
