"""Cuts a script at the points where its tables change: what of a piece can be
done before the migration, and the rest."""

import re

MADE = re.compile(
    r'(create (or replace )?(type|domain|sequence|function|procedure|'
    r'aggregate|operator|schema|collation|extension|(unlogged )?table|'
    r'(unique )?index)|alter table|analyze|vacuum)\b')
INSIDE = re.compile(r'create (or replace )?(function|procedure|aggregate)\b')
FILLED = re.compile(r'(insert into|copy)\b')
WRITTEN = re.compile(r'\b(insert|update|delete|merge|truncate|drop|alter|copy)'
                     r'\b')
STOPS = re.compile(r'(re)?set (local |session )?(search_path|schema|role|'
                   r'session authorization)\b|\\c')
SETS = re.compile(r'(re)?set (?!constraints|transaction|local)\b|\\c\b')
# Before the first statement that stays, nothing is out of order.
LEADS = re.compile(r'(create|alter|drop|grant|revoke|comment)\b')
# It would look at, or act on, a table behind pgtandem's back.
HANGS = re.compile(r'(create|alter) (or replace )?(constraint )?(trigger|rule|'
                   r'view|materialized view|policy|event|publication|temp)'
                   r'|create (global |local )?temp')
# What a table is afterwards is not what it was.
CUTS = re.compile(r'(create (unlogged )?table|drop (table|index)|alter table|'
                  r'create (unique )?index)\b')
BEGINS = re.compile(r'(begin|start transaction)\b')
ENDS = re.compile(r'(commit|end|rollback|abort)( work| transaction)?$')


def plain(item):
    return ' '.join(item.words())


class Split:
    """A statement goes first if no statement that stays has changed a table
    that it names, so that it finds what it would have found."""

    def __init__(self, hoist, there, leads=False):
        self.before, self.after, self.there = [], [], there
        self.names, self.changed, self.used = set(), set(), set()
        self.hoist, self.inside, self.stopped = hoist, False, False
        self.leads = leads

    def leading(self, item, text):
        """DDL that nothing stands in front of."""
        return (self.leads and not self.after and not self.inside and
                item.text and not HANGS.match(text) and
                (LEADS.match(text) or SETS.match(text)))

    def first(self, item, text, words):
        if self.leading(item, text):
            self.create(text)
            return True
        if self.inside or self.stopped or not item.text or \
                item.command != ';' or words & self.changed:
            return False
        if INSIDE.match(text) and words & (self.there | self.names):
            return False
        if MADE.match(text):
            return not re.match(r'create \w* ?table (\w+)', text) or \
                self.create(text)
        return self.hoist == 'data' and FILLED.match(text) and \
            not words & self.used and bool(words & self.names)

    def create(self, text):
        name = re.match(r'create (?:unlogged )?table (?:if not exists )?'
                        r'"?([\w.]+)', text)
        if not name or name.group(1) in self.names:
            return False
        self.names.add(name.group(1))
        return True

    def put(self, item):
        text = plain(item)
        words = set(re.findall(r'\w+', text))
        if BEGINS.match(text):
            self.inside = True
        if self.first(item, text, words):
            self.before.append(item)
        else:
            self.stopped = self.stopped or bool(
                STOPS.match(text or item.command))
            if WRITTEN.search(text):
                self.changed |= words & self.names
            self.used |= words & self.names
            self.after.append(item)
        if ENDS.match(text):
            self.inside = False

    def wants_cut(self, item):
        """Would it have to wait for what stays, and change a table?"""
        text = plain(item)
        if self.inside or not self.after or not CUTS.match(text):
            return False
        return bool(item.text)

    def sets(self):
        """What a later session has to be told to go on."""
        return [i for i in self.before + self.after
                if SETS.match(plain(i) or i.command)]


def whole(items, hoist, there):
    split = Split(hoist, there)
    for item in items:
        split.put(item)
    return [split]


def pieces(items, hoist, there, least):
    """Splits one after the other; one with fewer than `least` statements to
    run goes with the next."""
    done = [Split(hoist, there, True)]
    for item in items:
        last = done[-1]
        if last.wants_cut(item):
            following = Split(hoist, there | last.names, True)
            if len(last.after) < least:
                done.pop()
                following.before = last.before + last.after
                following.names = last.names
            done.append(following)
        done[-1].put(item)
    return done
