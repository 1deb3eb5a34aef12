"""Clients that know nothing of us: boto3, aiobotocore, aurora-data-api and its dialect of SQLAlchemy, unchanged."""

import asyncio
import datetime as dt
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any, TypeVar

import aurora_data_api
import boto3
import pytest
import sqlalchemy as sa
from aiobotocore.session import get_session
from aurora_data_api.exceptions import PostgreSQLError
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy_aurora_data_api import register_dialects

from db.local_data_api import CLUSTER_ARN, SECRET_ARN, environment
from tests.db.local_data_api.api import ARNS, Api

Result = TypeVar("Result")


@pytest.fixture
def sdk(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """boto3's client, pointed here by what `webhooks data-api` prints."""
    for name, value in environment(api.url).items():
        monkeypatch.setenv(name, value)
    client = boto3.Session().client("rds-data")
    yield client
    client.close()


async def run(work: Callable[[], Result]) -> Result:
    """In a thread: the server is in this loop."""
    return await asyncio.to_thread(work)


async def test_boto3_carries_out_everything(api: Api, sdk: Any) -> None:
    def work() -> list[Any]:
        target = {**ARNS, "database": api.database}
        begun = sdk.begin_transaction(**target)
        within = {**target, "transactionId": begun["transactionId"]}
        sdk.execute_statement(**within, sql="create table by_boto3 (n int, at timestamptz, raw bytea)")
        sets = [
            [
                {"name": "n", "value": {"longValue": n}},
                {"name": "at", "value": {"stringValue": "2026-01-02 03:04:05"}, "typeHint": "TIMESTAMP"},
                {"name": "raw", "value": {"blobValue": b"\0\xff"}},
            ]
            for n in range(3)
        ]
        sdk.batch_execute_statement(**within, sql="insert into by_boto3 values (:n, :at, :raw)", parameterSets=sets)
        answer = sdk.execute_statement(**within, sql="select * from by_boto3 order by n", includeResultMetadata=True)
        names = [column["name"] for column in answer["columnMetadata"]]
        sdk.rollback_transaction(**ARNS, transactionId=begun["transactionId"])
        with pytest.raises(sdk.exceptions.TransactionNotFoundException):
            sdk.commit_transaction(**ARNS, transactionId=begun["transactionId"])
        return [names, answer["records"][2]]

    assert await run(work) == [
        ["n", "at", "raw"],
        [{"longValue": 2}, {"stringValue": "2026-01-02 03:04:05"}, {"blobValue": b"\0\xff"}],
    ]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ({"sql": "select nonsense"}, "DatabaseErrorException"),
        ({"sql": "select interval '1 day'"}, "UnsupportedResultException"),
        ({"sql": "select 1", "transactionId": "nobodys"}, "TransactionNotFoundException"),
        ({"sql": "select :a"}, "BadRequestException"),
        ({"sql": "select 1", "database": "nowhere"}, "DatabaseNotFoundException"),
        ({"sql": "select 1", "secretArn": SECRET_ARN + "x"}, "SecretsErrorException"),
    ],
)
async def test_boto3_knows_the_errors_by_their_classes(sdk: Any, call: dict[str, Any], error: str) -> None:
    with pytest.raises(getattr(sdk.exceptions, error)):
        await run(lambda: sdk.execute_statement(**ARNS | call))


async def test_the_deprecated_operation_is_refused_in_boto3_too(sdk: Any) -> None:
    with pytest.raises(sdk.exceptions.BadRequestException):
        await run(
            lambda: sdk.execute_sql(
                dbClusterOrInstanceArn=CLUSTER_ARN, awsSecretStoreArn=SECRET_ARN, sqlStatements="select 1"
            )
        )


@pytest.mark.usefixtures("sdk")
async def test_aiobotocore_is_pointed_here_by_the_environment() -> None:
    async with get_session().create_client("rds-data") as client:
        answers = await asyncio.gather(
            *(client.execute_statement(**ARNS, sql=f"select {n}, current_database()") for n in range(20))
        )
        assert [answer["records"][0][0]["longValue"] for answer in answers] == list(range(20))
        with pytest.raises(client.exceptions.DatabaseErrorException):
            await client.execute_statement(**ARNS, sql="select nonsense")


async def test_botocore_sends_again_what_was_cut_off(api: Api, sdk: Any) -> None:
    api.faults.next_calls.extend(["cut_before", "unavailable"])
    answer = await run(lambda: sdk.execute_statement(**ARNS, sql="select 1"))
    assert answer["records"] == [[{"longValue": 1}]]
    assert [call.status for call in api.calls] == [None, 503, 200]


def connect(api: Api, sdk: Any, **options: Any) -> Any:
    return aurora_data_api.connect(CLUSTER_ARN, SECRET_ARN, sdk, api.database, **options)


ROWS = 300
NOON = dt.datetime(2026, 1, 2, 3, 4, 5, 678901)  # noqa: DTZ001 - as the driver has it


async def test_aurora_data_api_reads_and_writes_its_types(api: Api, sdk: Any) -> None:
    def work() -> None:
        with connect(api, sdk) as connection, connection.cursor() as cursor:
            cursor.execute("drop table if exists by_driver")
            cursor.execute(
                "create table by_driver (id serial, name text, doc jsonb default '{}', num numeric(10, 5), ts timestamp,"
                " day date, at time, raw bytea, tags text[])"
            )
            insert = (
                "insert into by_driver (name, doc, num, ts, day, at, raw, tags) values"
                " (:name, cast(:doc as jsonb), :num, :ts, :day, :at, :raw, string_to_array(:tags, ','))"
            )
            cursor.executemany(insert, [row(n) for n in range(ROWS)])
            cursor.execute("select count(*) from by_driver where id < :limit", {"limit": 11})
            assert cursor.fetchone() == (10,)
            cursor.execute("select * from by_driver order by id")
            assert cursor.rowcount == ROWS
            first, *rest = cursor.fetchmany(ROWS - 1)
            assert first == (
                1, "row0", '{"x":0,"y":[0,"0"]}', Decimal("0.50000"), NOON, NOON.date(), NOON.time(), b"\0\xff", ["a", "b"],
            )  # fmt: skip
            assert (len(rest), len(cursor.fetchall()), cursor.fetchone()) == (ROWS - 2, 1, None)
            assert [column.type_code for column in cursor.description][3:5] == [Decimal, dt.datetime]
            cursor.execute("update by_driver set name = null where id <= 8")
            assert cursor.rowcount == 8
            cursor.execute("select name from by_driver where id = 1")
            assert cursor.fetchall() == [(None,)]
            cursor.execute("drop table by_driver")

    await run(work)


def row(number: int) -> dict[str, Any]:
    return {
        "name": f"row{number}",
        "doc": json.dumps({"x": number, "y": [number, str(number)]}),
        "num": Decimal(f"{number}.5"),
        "ts": NOON,
        "day": NOON.date(),
        "at": NOON.time(),
        "raw": b"\0\xff",
        "tags": "a,b",
    }


async def test_aurora_data_api_commits_and_rolls_back(api: Api, sdk: Any) -> None:
    def work() -> list[Any]:
        with connect(api, sdk) as connection:
            connection.cursor().execute("create table if not exists kept (n int)")
        with suppress(ZeroDivisionError), connect(api, sdk) as connection:
            connection.cursor().execute("insert into kept values (1)")
            raise ZeroDivisionError
        with connect(api, sdk) as connection:
            connection.cursor().execute("insert into kept values (2)")
        with connect(api, sdk) as connection, connection.cursor() as cursor:
            cursor.execute("select n from kept")
            found: list[Any] = cursor.fetchall()
            cursor.execute("drop table kept")
        return found

    assert await run(work) == [(2,)]


async def test_aurora_data_api_tells_postgresqls_errors_apart(api: Api, sdk: Any) -> None:
    def work() -> None:
        for sql, error in {
            "selec 1": PostgreSQLError.ER_SYNTAX_ERR,
            "select * from nowhere": PostgreSQLError.ER_UNDEF_TABLE,
        }.items():
            with connect(api, sdk) as connection, pytest.raises(error):
                connection.cursor().execute(sql)

    await run(work)


async def test_aurora_data_api_goes_on_after_a_timeout(api: Api, sdk: Any) -> None:
    api.limits.statement_seconds = 0.05

    def work() -> None:
        connection = connect(api, sdk, continue_after_timeout=True)
        with pytest.raises(sdk.exceptions.StatementTimeoutException):
            connection.cursor().execute("select pg_sleep(0.1)")

    await run(work)


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "people"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    doc: Mapped[dict[str, Any]] = mapped_column(postgresql.JSONB)
    key: Mapped[Any] = mapped_column(postgresql.UUID(as_uuid=False))
    is_awake: Mapped[bool | None]
    birthday: Mapped[dt.date] = mapped_column(postgresql.DATE)
    wakes_at: Mapped[dt.time] = mapped_column(postgresql.TIME)
    added: Mapped[dt.datetime] = mapped_column(postgresql.TIMESTAMP)
    weight: Mapped[float]
    price: Mapped[Decimal]
    raw: Mapped[bytes]
    friends: Mapped[list[str]] = mapped_column(postgresql.ARRAY(sa.String))


PERSON = {
    "name": "ada",
    "doc": {"likes": ["tea", None]},
    "key": "6f9619ff-8b86-d011-b42d-00cf4fc964ff",
    "is_awake": None,
    "birthday": NOON.date(),
    "wakes_at": dt.time(5, 45, 0, 250_000),
    "added": NOON.replace(microsecond=678_000),
    "weight": 1.2,
    "price": Decimal("19.99"),
    "raw": bytes(range(256)) * 64,
    "friends": ["O'Neil", 'says "hi"'],
}


async def test_sqlalchemy_creates_writes_and_reads(empty_api: Api, sdk: Any) -> None:
    register_dialects()
    engine = sa.create_engine(
        f"postgresql+auroradataapi://:@/{empty_api.database}",
        connect_args={"aurora_cluster_arn": CLUSTER_ARN, "secret_arn": SECRET_ARN, "rds_data_client": sdk},
    )

    def work() -> None:
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            session.add(Person(**PERSON))
            session.commit()
            person = session.query(Person).filter(Person.name.like("%da")).one()
            assert {name: getattr(person, name) for name in PERSON} == PERSON
            person.is_awake = True
            session.rollback()
            assert session.query(Person).filter(Person.is_awake.is_(None)).count() == 1
        with engine.connect() as connection:
            tables = connection.execute(
                sa.text("select tablename from pg_catalog.pg_tables where schemaname = :s"), {"s": "public"}
            )
            assert tables.all() == [("people",)]

    await run(work)
    engine.dispose()
