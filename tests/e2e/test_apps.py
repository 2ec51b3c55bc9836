"""Applications on object mappers and drivers that others wrote: each makes its
tables with its own tool, then works all the while its table is walked through
the phases.  What it reads is the same, round by round, as direct."""

import collections
import os
import pathlib
import shutil
import subprocess
import threading

import psycopg
import pytest

import harness

HERE = pathlib.Path(__file__).parent / 'apps'

SPEC = '''
migration: {name}
database: apps_{name}
quiet_for: 1h
lenses:
  - kind: table
    old: public.inovices
    new: public.invoices
    key: [id]
    columns:
      - {{old: {customr}, new: customer}}
      - old: amount
        new: {{name: amount_cents, type: bigint}}
        forward: (amount * 100)::bigint
        reverse: (amount_cents / 100)::integer
        bijective: true
      - old: phone
        new: {{name: phone_digits, type: text}}
        forward: replace(phone, '-', '')
        reverse: left(phone_digits, 3) || '-' || substr(phone_digits, 4)
'''


# The same changes within the table: the catalog says so from `expanded` on, and
# the application must not look.
IN_PLACE = SPEC.replace('kind: table', 'kind: columns').replace(
    'old: public.inovices', 'table: public.inovices').replace(
    '    new: public.invoices\n', '').replace(
    '      - {{old: {customr}, new: customer}}\n', '')


# The phone goes to a table of its own, which may have several of one row.
CHILD = '''
migration: {name}
database: apps_{name}
quiet_for: 1h
lenses:
  - kind: child
    old: public.inovices
    key: [id]
    columns: [phone]
    new:
      table: public.phones
      parent: {{inovice_id: id}}
      columns: {{phone: phone}}
      when: phone IS NOT NULL
      pick: [phone]
'''


def build(folder, *words, **environment):
    done = subprocess.run(words, cwd=folder, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT,
                          env={**os.environ, **environment})
    assert done.returncode == 0, done.stdout


def script(interpreter, path):
    return lambda folder: [interpreter, str(HERE / path)]


# It knows its columns, and does not look into the catalog.
BLIND = ['env', 'APP_BLIND=1']


def java(folder):
    build(folder, 'javac', '-d', '.', str(HERE / 'jdbc/App.java'))
    return ['java', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-cp',
            f'{folder}:/usr/share/java/postgresql.jar', 'App']


def node(folder):
    for name in ('package.json', 'package-lock.json', 'app.js'):
        shutil.copy(HERE / 'sequelize' / name, folder)
    build(folder, 'npm', 'ci', '--no-audit', '--no-fund', '--ignore-scripts')
    return ['node', str(folder / 'app.js')]


def go(folder):
    build(HERE / 'pgx', 'go', 'build', '-o', str(folder / 'app'), 'app.go',
          GO111MODULE='off', GOPATH='/usr/share/gocode')
    return [str(folder / 'app')]


# What makes an application ready to run, in a folder of its own; the words of
# its command.
APPS = {
    'django': script('/usr/bin/python3', 'django/app.py'),
    'sqlalchemy': script('/usr/bin/python3', 'sqlalchemy/app.py'),
    'activerecord': script('ruby', 'activerecord/app.rb'),
    'jdbc': java,
    'sequelize': node,
    'pgx': go,
}
SPECS = {}
# The same programs, with their tables under another kind of migration.
for _app in ('django_in_place', 'django_child', 'sqlalchemy_in_place',
             'sqlalchemy_child', 'jdbc_child', 'sequelize_child',
             'pgx_in_place'):
    _name, _, _kind = _app.partition('_')
    SPECS[_app] = CHILD if _kind == 'child' else IN_PLACE
CHOSEN = os.environ.get('APPS', ' '.join([*APPS, *SPECS])).split()


def program(name):
    return name.partition('_')[0]


class App:
    """One application, on one side; its rounds' digests."""

    def __init__(self, command, url):
        self.command, self.url = command, url
        self.digests = []
        self.reads = collections.defaultdict(list)
        self.process = self.reader = None

    def setup(self):
        done = subprocess.run([*self.command, 'setup', self.url], text=True,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout

    def start(self, count='-'):
        """Goes on where it was; `count` rounds, or until stop()."""
        self.errors = []
        self.process = subprocess.Popen(
            [*self.command, 'work', self.url, str(len(self.digests)),
             str(count)], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        self.listener = threading.Thread(target=self._listen)
        self.listener.start()

    def _read(self):
        for line in self.process.stdout:
            if line != 'done\n':
                self.digests.append(line.split()[1])

    def _listen(self):
        for line in self.process.stderr:
            n, tab, what = line.partition('\t')
            if tab and n.isdigit():
                self.reads[int(n)].append(what)
            else:
                self.errors.append(line)

    def complaint(self):
        return self.url + '\n' + ''.join(self.errors)[-3000:]

    def stop(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.stdin.write('stop\n')
            self.process.stdin.close()
        self.end()

    def end(self, seconds=300):
        status = self.process.wait(seconds)
        self.reader.join()
        self.listener.join()
        self.process = None
        assert status == 0, self.complaint()

    def rounds(self, more):
        """Waits for so many more rounds."""
        wanted = len(self.digests) + more

        def there():
            assert self.process.poll() in (None, 0), self.complaint()
            return len(self.digests) >= wanted
        harness.wait_for(f'{more} rounds of {self.url}', there)


@pytest.fixture(scope='module')
def commands(tmp_path_factory):
    programs = {name: APPS[name](tmp_path_factory.mktemp(name))
                for name in sorted({program(name) for name in CHOSEN})}
    return {name: BLIND * (name in SPECS) + programs[program(name)]
            for name in CHOSEN}


def together(all_of_them, act):
    """The same for all, at the same time."""
    failed = []

    def one(each):
        try:
            act(each)
        except (AssertionError, subprocess.TimeoutExpired,
                psycopg.Error) as e:
            failed.append(str(e))
    threads = [threading.Thread(target=one, args=(each,))
               for each in all_of_them]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failed:
        pytest.fail(failed[0], pytrace=False)


def move(proxy, name, phase):
    force = f' FORCE {name}' if phase == 'contracted' else ''
    proxy.move(f'ROLLBACK {name}' if phase == 'back' else
               f'ADVANCE {name} TO {phase}{force}')
    if phase == 'dual_write' or proxy.phase(name) == 'write_new':
        proxy.walked(name)


def compare(name, got, want, marks):
    assert len(got.digests) == len(want.digests)
    for n, pair in enumerate(zip(got.digests, want.digests)):
        if len(set(pair)) > 1:
            lines = next(((a, b) for a, b in zip(got.reads[n], want.reads[n])
                          if a != b), 'as many reads')
            raise AssertionError((name, n, marks, *lines))


def test_applications_do_not_notice_the_walk(postgres, start_proxy, commands):
    specs = {f'{n}.yaml': SPECS.get(n, SPEC).format(
        name=n, customr='customr_id' if n == 'activerecord' else 'customr')
        for n in commands}

    def app(name, port, database):
        return App(commands[name],
                   f'postgres://postgres@127.0.0.1:{port}/{database}')
    made = {program(n): n for n in commands}
    for name in made:
        postgres.create_database(f'apps_{name}_made')
    together([app(n, postgres.port, f'apps_{name}_made')
              for name, n in made.items()], App.setup)
    for name in commands:
        for copy in f'apps_{name}', f'apps_{name}_direct':
            postgres.copy_database(f'apps_{program(name)}_made', copy)
    direct = {n: app(n, postgres.port, f'apps_{n}_direct') for n in commands}

    proxy = start_proxy(postgres, specs)
    through = {n: app(n, proxy.port, f'apps_{n}') for n in commands}
    every = list(through.values())
    marks = collections.defaultdict(list)

    def stage(*phases):
        for phase in phases:
            together(commands, lambda name: move(proxy, name, phase))
            together(every, lambda a: a.rounds(1))
            for name, a in through.items():
                marks[name].append((phase, len(a.digests)))

    try:
        together(every, lambda a: a.start())
        together(every, lambda a: a.rounds(1))
        stage('expanded', 'dual_write', 'read_new', 'write_new', 'new_only')
        stage('back', 'back', 'back')
        stage('read_new', 'write_new')
        together(every, App.stop)
        together(every, lambda a: a.start())
        stage('new_only', 'contracted')
        together(every, App.stop)
        # What starts now finds its tables in the catalog as before.
        together(every, lambda a: a.start(3))
        together(every, App.end)
    except BaseException:
        print(proxy.log()[-10000:])
        raise
    finally:
        for a in every:
            if a.process:
                a.process.kill()
    for name in commands:
        direct[name].start(len(through[name].digests))
    together(direct.values(), App.end)
    for name in commands:
        compare(name, through[name], direct[name], marks[name])
