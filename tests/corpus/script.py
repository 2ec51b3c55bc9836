"""Cuts a psql script into what psql would send, and follows the few of its
own commands that other statements depend on."""

import dataclasses
import re

TOKEN = re.compile(r'''
    (?P<line_comment>--[^\n]*) | (?P<comment>/\*)
  | (?P<quoted>\b[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*"
              | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
  | (?P<joined>\\;) | (?P<meta>\\[^\n]*) | (?P<end>;) | (?P<open>\()
  | (?P<close>\)) | (?P<word>[^\W\d][\w$]*) | (?P<variable>::|:\w+|:'\w+'|:"\w+")
  | (?P<other>.)''', re.X | re.S)
SENDS = re.compile(r'\\(g|gx|gset|gexec|gdesc|crosstabview)\b *(.*)')
FROM_STDIN = re.compile(r'copy\b[^;]*\bfrom\s+stdin\b', re.I)
ATOMIC = re.compile(r'\s*create\s+(or\s+replace\s+)?(function|procedure)\b',
                    re.I)
TRUE = ('t', 'true', 'on', 'yes', '1')


@dataclasses.dataclass
class Item:
    """A statement, with the psql command that sends it (`;` mostly), or a
    command of psql's own (`text` is empty)."""
    text: str
    command: str = ';'
    data: bytes = b''

    def words(self):
        return re.sub(r'--[^\n]*|/\*.*?\*/', ' ', self.text, flags=re.S
                      ).lower().split()


def end_of_comment(text, at):
    depth = 0
    for m in re.compile(r'/\*|\*/').finditer(text, at):
        depth += 1 if m.group() == '/*' else -1
        if depth == 0:
            return m.end()
    return len(text)


class Reader:
    def __init__(self, text):
        self.text, self.at = text, 0
        self.items = []
        self.forget()

    def forget(self):
        self.buffer, self.parens, self.blocks = '', 0, 0

    def emit(self, command=';'):
        item = Item(self.buffer.strip(), command)
        self.forget()
        if item.text and FROM_STDIN.match(' '.join(item.words())):
            item.data = self.copy_data()
        if item.words() or command != ';':
            self.items.append(item)

    def rest_of_line(self):
        end = self.text.find('\n', self.at)
        end = len(self.text) if end < 0 else end + 1
        line, self.at = self.text[self.at:end], end
        return line

    def copy_data(self):
        self.rest_of_line()
        lines = []
        while self.at < len(self.text):
            line = self.rest_of_line()
            if line.rstrip('\n') == '\\.':
                break
            lines.append(line)
        return ''.join(lines).encode()

    def meta(self, line):
        """psql reads a command to the end of its line."""
        if SENDS.match(line):
            self.emit(line.strip())
        elif line.split()[0] in (r'\r', r'\reset'):
            self.forget()
        else:
            self.items.append(Item('', line.strip()))

    def word(self, word):
        """A function's body may have semicolons between BEGIN and END."""
        if not ATOMIC.match(self.buffer):
            return
        if word == 'begin' or (self.blocks and word == 'case'):
            self.blocks += 1
        elif self.blocks and word == 'end':
            self.blocks -= 1

    def one(self, m):
        kind, text = m.lastgroup, m.group()
        if kind == 'comment':
            self.at = end_of_comment(self.text, m.start())
            self.buffer += self.text[m.start():self.at]
            return
        if kind == 'meta':
            self.meta(text)
            return
        if kind == 'end' and not self.parens and not self.blocks:
            self.emit()
            return
        if kind == 'word':
            self.word(text.lower())
        self.parens += {'open': 1, 'close': -1}.get(kind, 0)
        self.buffer += ';' if kind == 'joined' else text

    def read(self):
        while self.at < len(self.text):
            m = TOKEN.match(self.text, self.at)
            self.at = m.end()
            self.one(m)
        self.emit()
        return self.items


def read(path):
    return Reader(path.read_text(errors='surrogateescape')).read()


class Variables:
    """psql's variables, and which of its \\if branches are taken."""

    def __init__(self, values):
        self.values, self.taken, self.over = dict(values), [], False

    def put(self, m):
        text = m.group()
        if m.lastgroup != 'variable' or text == '::':
            return text
        name = text.strip(':\'"')
        if name not in self.values:
            return text
        quote = text[1] if text[1] in '\'"' else ''
        value = self.values[name]
        return quote + value.replace(quote, quote * 2) + quote if quote \
            else value

    def fill(self, text):
        return TOKEN.sub(self.put, text)

    def active(self):
        return not self.over and all(self.taken)

    def branch(self, word, argument):
        if word == 'if':
            self.taken.append(argument in TRUE)
        elif word == 'elif':
            self.taken[-1] = not self.taken[-1] and argument in TRUE
        elif word == 'else':
            self.taken[-1] = not self.taken[-1]
        else:
            self.taken.pop()

    def run(self, command):
        """A command that stands alone; nothing else than these matters."""
        word, _, argument = command[1:].partition(' ')
        if word in ('if', 'elif', 'else', 'endif'):
            self.branch(word, self.fill(argument).strip())
        elif not self.active():
            return
        elif word in ('q', 'quit'):
            self.over = True
        elif word == 'unset':
            self.values.pop(argument.strip(), None)
        elif word == 'getenv':
            name, _, variable = argument.strip().partition(' ')
            self.values[name] = self.values.get(variable.strip(), '')
        elif word == 'set':
            name, _, value = argument.strip().partition(' ')
            parts = re.findall(r"'(?:[^']|'')*'|:'\w+'|\S+", value)
            self.values[name] = ''.join(
                p[1:-1].replace("''", "'") if p[0] == "'" else
                self.fill(p) for p in parts)
