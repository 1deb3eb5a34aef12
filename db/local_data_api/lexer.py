"""SQL text: finds `:name`, writes `$1` in its place, and refuses what the Data API cannot take.

Text in quotes and comments is left alone. Where the service itself is known to go wrong, the statement is refused with
a message that says why, not carried out as if all were well: `:name` in a dollar-quoted body, and a slice `a[1:2]`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from db.local_data_api.errors import bad_request, invalid

TOKEN = re.compile(
    r"""
      (?P<blank>    \s+ | --[^\r\n]*)
    | (?P<comment>  /\*)
    | (?P<string>   [eE]'(?:[^'\\]|\\.|'')*'(?:\s*\n\s*'(?:[^'\\]|\\.|'')*')* | '(?:[^']|'')*' | "(?:[^"]|"")*")
    | (?P<dollar>   \$(?P<tag>(?:[^\W\d]\w*)?)\$(?P<body>.*?)\$(?P=tag)\$)
    | (?P<open>     [eE]?'.* | ".* | \$(?:[^\W\d]\w*)?\$.*)   # it never ends: PostgreSQL will say so
    | (?P<number>   \d[\w.]*)
    | (?P<operator> (?i:operator)\s*\(\s*(?:(?:\w+|"[^"]*")\s*\.\s*)*[-+*/<>=~!@\#%^&|`?]+\s*\))
    | (?P<word>     [^\W\d][\w$]*)
    | (?P<cast>     ::)
    | (?P<name>     :\w+)
    | (?P<bracket>  [\[\](){}])
    | (?P<end>      ;)
    | (?P<other>    .)
    """,
    re.VERBOSE | re.DOTALL,
)
COMMENT_MARK = re.compile(r"/\*|\*/")
OPENING = {"]": "[", ")": "(", "}": "{"}
# After one of these a parameter may stand; after any other word, within brackets, the colon is a slice's.
BEFORE_OPERAND = frozenset(
    "ALL AND ANY ARRAY AS ASYMMETRIC BETWEEN BY CASE DISTINCT ELSE ESCAPE FROM ILIKE IN IS LIKE LIMIT NOT OFFSET ON OR"
    " SELECT SIMILAR SOME SYMMETRIC THEN TO USING VALUES WHEN WHERE ZONE".split()
)


@dataclass(frozen=True, slots=True)
class Statement:
    sql: str
    """With `$1` for the first name, and so on."""
    names: tuple[str, ...]
    words: tuple[str, ...]
    """Its first three words, in capitals."""


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str


@lru_cache(maxsize=256)
def parse(sql: str) -> Statement:
    names: dict[str, int] = {}
    text: list[str] = []
    words: list[str] = []
    statements = 0
    is_new = True
    for token, is_slice in with_slices(tokens(sql)):
        if token.kind == "end":
            is_new = True
        elif token.kind != "blank":
            statements += is_new
            is_new = False
        if token.kind == "word" and len(words) < 3:
            words.append(token.text.upper())
        if token.kind == "dollar":
            check_dollar_quoted(token.text)
        if token.kind == "name":
            if is_slice:
                raise slice_refused(token.text)
            text.append(f"${names.setdefault(token.text[1:], len(names) + 1)}")
        else:
            text.append(token.text)
    if statements > 1:
        raise invalid("Multistatements aren't supported.")
    if not statements:
        raise invalid("The SQL statement is empty.")
    return Statement("".join(text), tuple(names), tuple(words))


def tokens(sql: str) -> Iterator[Token]:
    position = 0
    while match := TOKEN.match(sql, position):
        kind, position = match.lastgroup or "other", match.end()
        if kind == "comment":
            position = end_of_comment(sql, position)
            yield Token("blank", sql[match.start() : position])
        else:
            yield Token(kind, match[0])


def end_of_comment(sql: str, position: int) -> int:
    """Comments nest."""
    depth = 1
    while depth and (mark := COMMENT_MARK.search(sql, position)):
        depth += 1 if mark[0] == "/*" else -1
        position = mark.end()
    return len(sql) if depth else position


def with_slices(found: Iterator[Token]) -> Iterator[tuple[Token, bool]]:
    """Each token, and whether a colon there is a slice's: within square brackets, after something complete."""
    brackets: list[str] = []
    previous = Token("other", "")
    for token in found:
        yield token, brackets[-1:] == ["["] and is_operand(previous)
        if token.kind == "blank":
            continue
        previous = token
        if token.text in "[({" and token.kind == "bracket":
            brackets.append(token.text)
        elif token.kind == "bracket" and brackets[-1:] == [OPENING[token.text]]:
            brackets.pop()


def is_operand(token: Token) -> bool:
    if token.kind == "word":
        return token.text.upper() not in BEFORE_OPERAND
    return token.kind in {"number", "string", "dollar", "name"} or (token.kind == "bracket" and token.text in "])}")


def check_dollar_quoted(text: str) -> None:
    """The service does not know dollar quotes: what is in one, it reads as it reads everything."""
    body = text.partition("$")[2].partition("$")[2].rpartition("$")[0].rpartition("$")[0]
    for token in tokens(body):
        if token.kind == "dollar":
            check_dollar_quoted(token.text)
        if token.kind == "name":
            raise bad_request(
                f"'{token.text}' within a dollar-quoted text: the Data API would replace it by a parameter. Write the"
                " body in '...', with its own quotes doubled"
            )


def slice_refused(text: str) -> Exception:
    return bad_request(
        f"'{text}' in an array slice: the Data API would take it for a parameter. Use trim_array(), or unnest() WITH"
        " ORDINALITY"
    )
