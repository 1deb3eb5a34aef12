"""SQL text: where a parameter stands and where a colon is something else, one statement a call."""

import pytest

from db.local_data_api.errors import ApiError
from db.local_data_api.lexer import parse


@pytest.mark.parametrize(
    ("sql", "rewritten", "names"),
    [
        ("select :a, :b_2, :a", "select $1, $2, $1", ("a", "b_2")),
        ("select :1 + :2", "select $1 + $2", ("1", "2")),
        ("select :a::int, x::text, '1'::int", "select $1::int, x::text, '1'::int", ("a",)),
        (
            "select ':a', 'it''s :a', \":a\", \"a\"\":b\", :c",
            "select ':a', 'it''s :a', \":a\", \"a\"\":b\", $1",
            ("c",),
        ),
        (r"select E'\':a', e'\\', :b", r"select E'\':a', e'\\', $1", ("b",)),
        (r"select U&'\0041:a', B'01', '\', :b", r"select U&'\0041:a', B'01', '\', $1", ("b",)),
        ("select E'a'\n 'b\\':c', :d", "select E'a'\n 'b\\':c', $1", ("d",)),
        ("select 1 -- :a ' \n, :b", "select 1 -- :a ' \n, $1", ("b",)),
        ("select /* :a /* ; ' */ :b */ :c", "select /* :a /* ; ' */ :b */ $1", ("c",)),
        ("select $$it's a body$$, $tag$ $$ ; $$ $tag$, :a", "select $$it's a body$$, $tag$ $$ ; $$ $tag$, $1", ("a",)),
        (
            "do $$ begin x := 1; perform y::int, 'a:b' ; end $$",
            "do $$ begin x := 1; perform y::int, 'a:b' ; end $$",
            (),
        ),
        ("select a ? :b, a->>:c, a @> :d, 5 % :e", "select a ? $1, a->>$2, a @> $3, 5 % $4", ("b", "c", "d", "e")),
        ("select array[:a, :b], x[:i], x[y + :j]", "select array[$1, $2], x[$3], x[y + $4]", ("a", "b", "i", "j")),
        ("select x[case when :a then 1 else :b end]", "select x[case when $1 then 1 else $2 end]", ("a", "b")),
        ("select array[now() at time zone :tz]", "select array[now() at time zone $1]", ("tz",)),
        ("select array[x like 'a' escape :a]", "select array[x like 'a' escape $1]", ("a",)),
        (
            "select array[x between symmetric :a and :b, x not between asymmetric :a and :b]",
            "select array[x between symmetric $1 and $2, x not between asymmetric $1 and $2]",
            ("a", "b"),
        ),
        (
            'select x[1 operator(pg_catalog.+) :a], array[1 OPERATOR ( "My ops" . <-> ) :a]',
            'select x[1 operator(pg_catalog.+) $1], array[1 OPERATOR ( "My ops" . <-> ) $1]',
            ("a",),
        ),
        (
            "select operator(:a), x[operator(1)], myoperator(:b)",
            "select operator($1), x[operator(1)], myoperator($2)",
            ("a", "b"),
        ),
        ("select x[1 : 2], f(a => 1), b := :c", "select x[1 : 2], f(a => 1), b := $1", ("c",)),
        ("select a$b$, $1, :c", "select a$b$, $1, $1", ("c",)),
        ("select 1;", "select 1;", ()),
        (";; select 1 ; -- the end\n ; /* really */", ";; select 1 ; -- the end\n ; /* really */", ()),
        ("select 'it never ends :a", "select 'it never ends :a", ()),
        ("select $$it never ends :a", "select $$it never ends :a", ()),
        ("select /* it never ends :a", "select /* it never ends :a", ()),
        ("select :größe", "select $1", ("größe",)),
    ],
)
def test_names_become_numbers_and_everything_else_stays(sql: str, rewritten: str, names: tuple[str, ...]) -> None:
    statement = parse(sql)
    assert (statement.sql, statement.names) == (rewritten, names)


@pytest.mark.parametrize(
    "sql", ["select 1; select 2", "select ';'; ;select 2", "do $$ ; $$; select 1", "select 1;--\n2"]
)
def test_two_statements_are_refused(sql: str) -> None:
    with pytest.raises(ApiError, match=r"^ValidationException: Multistatements aren't supported\.$"):
        parse(sql)


@pytest.mark.parametrize("sql", ["", "  ", ";", "-- nothing", "/* nothing */ ;"])
def test_a_statement_that_says_nothing_is_refused(sql: str) -> None:
    with pytest.raises(ApiError, match="ValidationException"):
        parse(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "select x[1:2]",
        "select x[a :b]",
        "select x[f(1):2]",
        "select x[y[1]:2]",
        "select x[:a:b]",
        "select x[operator(1):2]",
        "select x[(now() at time zone 'x'):b]",
    ],
)
def test_a_slice_is_refused_as_the_service_would_break_it(sql: str) -> None:
    with pytest.raises(ApiError, match=r"BadRequestException: .* in an array slice"):
        parse(sql)


@pytest.mark.parametrize(
    "sql", ["select $$a :b c$$", "do $x$ begin perform :a; end $x$", "select $$12:30$$", "do $a$ do $b$ :c $b$ $a$"]
)
def test_a_name_in_dollar_quotes_is_refused_as_the_service_would_replace_it(sql: str) -> None:
    with pytest.raises(ApiError, match=r"BadRequestException: .* within a dollar-quoted text"):
        parse(sql)


def test_a_long_text_takes_no_long_time() -> None:
    quotes = "''" * 30_000
    assert parse(f"select '{quotes}', :a").names == ("a",)
    assert parse(f"select '{quotes}").names == ()
