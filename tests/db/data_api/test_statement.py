"""Where the Data API sees parameters in a statement, and what it must not be sent."""

from importlib.resources import files

import pytest

from db.data_api.statement import parse
from db.database import DatabaseMisconfigured, TooMuch, without_comments


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("select :a, :b2, :_c, :1, :a", ["a", "b2", "_c", "1"]),
        ("select 1::int, x ::text, :a::jsonb, a := 1, b : c", ["a"]),
        ("select ':a', 'it''s :b', E'\\':c', \":d\", U&':e', e'\\\\', :f", ["f"]),
        ("select :a -- :b\n, :c /* :d /* :e */ :f */, :g", ["a", "c", "g"]),
        ("select :a /* :b /* never closed */", ["a"]),
        ("select $$ a $$, $x$ $$ 'it' $x$, :a, b$c$d, :e", ["a", "e"]),
        ("select '{\"a\": 1}'::jsonb ->> :key, a ? 'b', c @> :d", ["key", "d"]),
        ("select :ä", []),
    ],
)
def test_parameters_are_found_and_nothing_else(sql: str, names: list[str]) -> None:
    statement = parse(sql)
    assert statement.names == names
    assert statement.text() == sql


def test_something_else_may_stand_in_a_parameters_place() -> None:
    statement = parse("select :a, ':a', :b, :a::text")
    assert statement.text({"a": "cast(:a as date)"}) == "select cast(:a as date), ':a', :b, cast(:a as date)::text"


def test_a_parameter_between_dollar_signs_is_refused_for_the_data_api_would_rewrite_it() -> None:
    with pytest.raises(DatabaseMisconfigured, match=":new"):
        parse("create function f() returns trigger language plpgsql as $$ begin return :new; end $$")
    assert parse("do $$ begin perform 1::int; end $$").names == []


def test_a_statement_that_is_too_long_is_refused() -> None:
    with pytest.raises(TooMuch, match=r"65,536"):
        parse("select 1" + " " * 65_536)


@pytest.mark.parametrize(
    "file",
    [*files("db").joinpath("queries").iterdir(), *files("db").joinpath("migrations").iterdir()],
    ids=lambda file: file.name,
)
def test_every_statement_of_ours_is_one_that_the_data_api_reads_rightly(file: object) -> None:
    sql = without_comments(file.read_text())  # type: ignore[attr-defined] # a file of the package
    statement = parse(sql)
    assert not [name for name in statement.names if name.isdigit()], "an array's slice"
    assert "$$" not in sql
    assert ";" not in "".join(statement.parts).replace("'';", "") or sql.startswith("do '")
