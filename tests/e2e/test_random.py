"""Random statements in every phase: a short run of tests/random/run.

The same statements each time, so that a change to the tree is what makes it
fail; tests/random/run takes a fresh seed and any number of them."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'random'))

import differential  # noqa: E402
import schemas  # noqa: E402
from compare import Difference  # noqa: E402
from found import FOUND  # noqa: E402
from scripts import Statement  # noqa: E402

SEED = 1811
STATEMENTS = 50  # in each phase
SECONDS = 60
# One in which old is written, and two in which the lens is: what the other
# phases do is done in these, too.
PHASES = ('dual_write', 'write_new', 'contracted')


def run_found(schema, pair):
    for script in FOUND.get(schema.name, ()):
        for extended in False, True:
            pair.start_over()
            pair.run([Statement(sql, 'found', 'ORDER BY' in sql,
                                extended=extended) for sql in script])


@pytest.mark.parametrize('name', sorted(schemas.SCHEMAS))
def test_random_statements_give_what_they_give_direct(
        postgres, start_proxy, name):
    schema = schemas.SCHEMAS[name]
    proxy, pairs = differential.prepare(schema, postgres, start_proxy, PHASES)
    run = differential.Run(schema, pairs, SEED)
    found = run.run(STATEMENTS, SECONDS)
    for pair in pairs:
        try:
            run_found(schema, pair)
        except Difference as different:
            found.append(f'{name}, {pair.phase}:\n{different}')
    for pair in pairs:
        pair.close()
    if found:
        pytest.fail('\n\n'.join(found), pytrace=False)
    differential.verify(schema, proxy, pairs)
