"""Runs one permutation of a spec on one database as isolationtester does: the
next step is sent when the one before is done or waits for a lock, and what
waited is told as complete when it is."""

import dataclasses
import re
import select
import time

from psycopg import pq

NOT_SET = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.EMPTY_QUERY)
BLOCKED = (b'SELECT pg_catalog.pg_isolation_test_session_is_blocked($1::int4,'
           b' $2::int4[])')


class Stuck(Exception):
    """A step that does not end."""


@dataclasses.dataclass
class Outcome:
    """What a permutation gave: each step's results, and in which order steps
    waited and ended."""
    results: list       # (step, result) in the order of launching
    events: list        # ('launch' | 'waiting' | 'done', turn, step)
    stuck: str = ''

    def between_launches(self):
        """Per launched step what was told before the next was launched; what
        ends in one such time may do so in any order."""
        groups = []
        for what, turn, step in self.events:
            if what == 'launch':
                groups.append((step, []))
            else:
                groups[-1][1].append((what, turn, step))
        return [(step, sorted(told)) for step, told in groups]


def result_of(res, describe=True):
    """One PGresult as something to compare."""
    if res.status == pq.ExecStatus.FATAL_ERROR:
        def field(f):
            return (res.error_field(f) or b'').decode()
        return ('error', field(pq.DiagnosticField.SQLSTATE),
                field(pq.DiagnosticField.MESSAGE_PRIMARY))
    if res.status in NOT_SET:
        return ('tag', (res.command_status or b'').decode())
    names = [res.fname(i).decode() for i in range(res.nfields)]
    rows = [tuple(res.get_value(r, c) for c in range(res.nfields))
            for r in range(res.ntuples)]
    return ('rows', names, rows, (res.command_status or b'').decode())


class Session:
    def __init__(self, conninfo, name):
        self.name = name
        self.conn = pq.PGconn.connect(conninfo.encode())
        if self.conn.status != pq.ConnStatus.OK:
            raise RuntimeError(self.conn.error_message.decode())
        self.notices, self.results, self.turn = 0, [], None
        self.conn.notice_handler = self.on_notice
        # As isolationtester does, so that a name can be asked for.
        self.query(f"SET application_name = 'isolation/{name}'")

    def on_notice(self, res):
        self.notices += 1
        self.results.append(
            ('notice',
             (res.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or
              b'').decode()))

    def query(self, sql):
        """Runs it to its end; its results."""
        self.results = []
        self.conn.send_query(sql.encode())
        while not self.take(True):
            pass
        return self.results

    def take(self, wait, seconds=None):
        """Whether the query sent has ended."""
        if self.conn.is_busy():
            ready, _, _ = select.select([self.conn.socket], [], [],
                                        seconds if wait else 0)
            if not ready:
                return False
            self.conn.consume_input()
        while not self.conn.is_busy():
            res = self.conn.get_result()
            if res is None:
                return True
            if res.status in (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT):
                raise Stuck('COPY in a step')
            self.results.append(result_of(res))
        return False

    def close(self):
        self.conn.finish()


class Tester:
    """One spec on one side.  `watch` connects to the server itself."""

    def __init__(self, spec, conninfo, watch, patience=5):
        self.spec, self.patience = spec, patience
        self.watch = Session(watch, 'watch')
        self.sessions = {}
        for s in spec.sessions:
            self.sessions[s.name] = Session(conninfo, s.name)
        pids = [s.conn.backend_pid for s in self.sessions.values()]
        self.pids = ('{' + ','.join(map(str, pids)) + '}').encode()

    def close(self):
        for s in [self.watch, *self.sessions.values()]:
            s.close()

    def blocked(self, session):
        res = self.watch.conn.exec_params(
            BLOCKED, [str(session.conn.backend_pid).encode(), self.pids])
        return res.get_value(0, 0) == b't'

    def run(self, permutation, moment=None):
        """`moment` is called before each session's setup and before each step:
        with 'setup' or 'step', and its number."""
        out = Outcome([], [])
        self.waiting, self.out = [], out
        self.moment = moment or (lambda what, number: None)
        try:
            for number, s in enumerate(self.spec.sessions):
                self.moment('setup', number)
                if s.setup:
                    out.results.append((f'setup {s.name}',
                                        self.sessions[s.name].query(s.setup)))
            self.steps(permutation)
            for s in self.spec.sessions:
                if s.teardown:
                    self.sessions[s.name].query(s.teardown)
        except Stuck as e:
            out.stuck = str(e)
        self.end()
        return out

    def end(self):
        """Every session idle, whatever the spec has left."""
        for s in self.sessions.values():
            if s.turn is not None:
                s.conn.get_cancel().cancel()
                while not s.take(True, 10):
                    s.conn.get_cancel().cancel()
                s.turn = None
        for s in self.sessions.values():
            s.query('ROLLBACK')
            s.notices = 0

    def steps(self, permutation):
        for number, turn in enumerate(permutation):
            session = self.sessions[self.spec.session_of(turn.step).name]
            self.moment('step', number)
            self.until_free(session)
            self.launch(session, turn, number)
            waits = not self.complete(turn, retry=False, block=False)
            self.complete_waiting(block=False)
            if waits:
                self.waiting.append(turn)
        self.complete_waiting(block=True)

    def until_free(self, session):
        end = time.monotonic() + self.patience
        while session.turn is not None:
            old = session.turn
            if self.complete(old, retry=True, block=False):
                self.waiting.remove(old)
            else:
                self.complete_waiting(block=False)
                if session.turn is not None:
                    time.sleep(0.01)
            if time.monotonic() > end:
                raise Stuck(f'{old.step} does not end')

    def launch(self, session, turn, number):
        turn.number, turn.session = number, session
        turn.told_waiting = False
        turn.notices_at = {m.step: self.notices_of(m.step)
                           for m in turn.markers if m.notices}
        session.turn, session.results = turn, []
        self.out.events.append(('launch', number, turn.step))
        session.conn.send_query(self.spec.sql_of(turn.step).encode())
        session.sent = time.monotonic()

    def notices_of(self, step):
        return self.sessions[self.spec.session_of(step).name].notices

    def held(self, turn):
        """Must it not be told as complete yet?"""
        for m in turn.markers:
            if m.step is None:
                if not turn.told_waiting:
                    return True
            elif m.notices:
                if self.notices_of(m.step) < turn.notices_at[m.step] + m.notices:
                    return True
            elif any(s.turn is not None and s.turn is not turn and
                     s.turn.step == m.step for s in self.sessions.values()):
                return True
        return False

    def tell_waiting(self, turn):
        if not turn.told_waiting:
            turn.told_waiting = True
            self.out.events.append(('waiting', turn.number, turn.step))

    def complete(self, turn, retry, block):
        """Whether it has ended and been told; `block` waits for locks too."""
        session = turn.session
        if not retry and any(m.step is None for m in turn.markers):
            self.tell_waiting(turn)
            return False
        asked = 0.002
        while not getattr(turn, 'ended', None) == session.sent:
            if session.take(True, asked):
                turn.ended = session.sent
                break
            asked = min(asked * 2, 0.02)
            if not block and self.blocked(session):
                if not session.take(False):
                    self.tell_waiting(turn)
                    return False
                turn.ended = session.sent
            if time.monotonic() > session.sent + self.patience:
                raise Stuck(f'{turn.step} does not end')
            if block:
                # Others may have to end first.
                return False
        if self.held(turn):
            self.tell_waiting(turn)
            return False
        session.turn = None
        self.out.results.append((turn.step, session.results))
        self.out.events.append(('done', turn.number, turn.step))
        return True

    def complete_waiting(self, block):
        end = time.monotonic() + self.patience
        while True:
            before = len(self.waiting)
            for turn in list(self.waiting):
                if self.complete(turn, retry=True, block=block):
                    self.waiting.remove(turn)
            if not self.waiting:
                return
            if not block and len(self.waiting) == before:
                return
            if time.monotonic() > end:
                raise Stuck(f'{self.waiting[0].step} does not end')


def settled(message):
    """A message without what no two runs have in common."""
    return re.sub(r'\b\d{4,}\b', 'N', message)
