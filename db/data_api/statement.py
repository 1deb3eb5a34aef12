"""The text of a statement as the Data API reads it: where its parameters are, and what it would read wrongly."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from db.database import DatabaseMisconfigured, TooMuch

SQL_CHARACTERS = 65_536

# What may hold a colon that begins no parameter, and what does begin one. The rest of a statement is of no interest.
TOKEN = re.compile(
    r"""
      --[^\n]*
    | /\*                                                                  # to its end, see `after_comment`
    | (?<![\w$])[eE]'(?:[^'\\]|\\.|'')*'
    | '(?:[^']|'')*'
    | "(?:[^"]|"")*"
    | (?<![\w$])(?P<dollars>\$(?:[^\W\d]\w*)?\$)(?P<body>.*?)(?P=dollars)
    | ::
    | :(?P<name>[A-Za-z0-9_]+)
    """,
    re.VERBOSE | re.DOTALL,
)
COMMENT_EDGE = re.compile(r"/\*|\*/")
PARAMETER = re.compile(r"(?<!:):[A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Statement:
    """`parts` are text and parameter in turn: text, name, text, name, …, text."""

    parts: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(self.parts[1::2]))

    def text(self, instead: Mapping[str, str] | None = None) -> str:
        """The SQL, with something else in the place of some parameters."""
        if not instead:
            return "".join(f":{part}" if is_name else part for part, is_name in self._marked())
        return "".join(instead.get(part, f":{part}") if is_name else part for part, is_name in self._marked())

    def _marked(self) -> Iterator[tuple[str, int]]:
        return ((part, number % 2) for number, part in enumerate(self.parts))


@lru_cache(maxsize=512)
def parse(sql: str) -> Statement:
    """Raises DatabaseMisconfigured for what the Data API would read otherwise than PostgreSQL does."""
    if len(sql) > SQL_CHARACTERS:
        raise TooMuch(f"the statement has {len(sql):,} characters, the Data API takes {SQL_CHARACTERS:,}")
    parts: list[str] = []
    begin = at = 0
    while token := TOKEN.search(sql, at):
        at = after_comment(sql, token.end()) if token[0] == "/*" else token.end()
        if token["name"]:
            parts += [sql[begin : token.start()], token["name"]]
            begin = at
        elif token["body"] and (found := PARAMETER.search(token["body"])):
            raise DatabaseMisconfigured(
                f"the Data API would take {found[0]} between dollar signs for a parameter: write that text as '…'"
            )
    return Statement((*parts, sql[begin:]))


def after_comment(sql: str, at: int) -> int:
    """PostgreSQL's comments nest."""
    depth = 1
    for edge in COMMENT_EDGE.finditer(sql, at):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return edge.end()
    return len(sql)
