"""The frame of an application's workload: numbered rounds, each of which
prints a digest of everything that it read.

    app setup URL            makes the tables, as the application's own tool does
    app work URL FIRST N     rounds FIRST .. FIRST + N - 1; N is - for: until
                             standard input ends

A round's line is its number and the digest; what it read goes to standard
error before, each line behind the round's number and a tab.
"""

import hashlib
import select
import sys
import time

PAUSE_S = 0.5


class Reads:
    """What one round has read."""

    def __init__(self):
        self.all = []

    def note(self, *values):
        self.all.append(repr(values))

    def digest(self):
        return hashlib.sha256('\n'.join(self.all).encode()).hexdigest()[:16]


def stopped():
    return bool(select.select([sys.stdin], [], [], 0)[0])


def run(first, count, work):
    """Calls work(number, reads) for each round."""
    n = first
    while n < first + int(count) if count != '-' else not stopped():
        reads = Reads()
        work(n, reads)
        for line in reads.all:
            print(n, line, sep='\t', file=sys.stderr)
        sys.stderr.flush()
        print(n, reads.digest(), flush=True)
        n += 1
        if count == '-':
            time.sleep(PAUSE_S)
    print('done', flush=True)


def main(setup, work_on):
    """`work_on(url)` returns the function that does a round."""
    if sys.argv[1] == 'setup':
        setup(sys.argv[2])
    else:
        run(int(sys.argv[3]), sys.argv[4], work_on(sys.argv[2]))
