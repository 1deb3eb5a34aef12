"""columnMetadata: what is said of each column beside its values, with JDBC's numbers and sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import pq

from db.local_data_api.connection import Connection
from db.local_data_api.types import UNLIMITED, Type

NOT_NULL, NULLABLE, UNKNOWN = 0, 1, 2
SIGNED = frozenset("int2 int4 int8 float4 float8 numeric".split())
WITHOUT_CASE = SIGNED | frozenset("oid bool date time timestamp timestamptz".split())
SERIALS = {"int2": "smallserial", "int4": "serial", "int8": "bigserial"}
# Digits or characters at most; what is not here, has no limit that is known.
PRECISIONS = {
    "bool": 1,
    "int2": 5,
    "int4": 10,
    "int8": 19,
    "oid": 10,
    "float4": 8,
    "float8": 17,
    "numeric": 0,
    "date": 13,
    "time": 15,
    "timestamp": 29,
    "timestamptz": 35,
}
SCALES = {"float4": 8, "float8": 17, "time": 6, "timestamp": 6, "timestamptz": 6}

ORIGINS = """
select a.attrelid, a.attnum, c.relname, a.attnotnull, a.attidentity <> '',
       pg_catalog.pg_get_expr(d.adbin, d.adrelid) like 'nextval(%' and exists (
           select from pg_catalog.pg_depend o
             join pg_catalog.pg_class s on s.oid = o.objid and s.relkind = 'S'
            where o.classid = 'pg_catalog.pg_class'::regclass and o.refclassid = 'pg_catalog.pg_class'::regclass
              and o.refobjid = a.attrelid and o.refobjsubid = a.attnum)
  from unnest($1::pg_catalog.oid[], $2::int2[]) o(relation, number)
  join pg_catalog.pg_attribute a on a.attrelid = o.relation and a.attnum = o.number
  join pg_catalog.pg_class c on c.oid = a.attrelid
  left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
"""


@dataclass(frozen=True, slots=True)
class Origin:
    """The table's column that a result's column comes from; none, where it is an expression."""

    table: str = ""
    nullable: int = UNKNOWN
    is_identity: bool = False
    is_serial: bool = False


async def metadata(result: pq.abc.PGresult, types: Sequence[Type], connection: Connection) -> list[dict[str, Any]]:
    columns = range(result.nfields)
    keys = [(result.ftable(column), result.ftablecol(column)) for column in columns]
    origins = await origins_of(sorted({key for key in keys if all(key)}), connection)
    return [
        column_metadata(name, of, result.fmod(column), origins.get(key, Origin()))
        for column, name, of, key in zip(columns, labels(result), types, keys, strict=True)
    ]


def labels(result: pq.abc.PGresult) -> list[str]:
    return [(result.fname(column) or b"").decode() for column in range(result.nfields)]


async def origins_of(keys: Sequence[tuple[int, int]], connection: Connection) -> dict[tuple[int, int], Origin]:
    if not keys:
        return {}
    tables, columns = ("{" + ",".join(str(key[part]) for key in keys) + "}" for part in (0, 1))
    rows = await connection.rows(ORIGINS, tables, columns)
    return {
        (int(relation or 0), int(number or 0)): Origin(
            table or "", NOT_NULL if not_null == "t" else NULLABLE, is_identity == "t", is_serial == "t"
        )
        for relation, number, table, not_null, is_identity, is_serial in rows
    }


def column_metadata(name: str, of: Type, modifier: int, origin: Origin) -> dict[str, Any]:
    precision, scale = size(of.name, modifier)
    return {
        "arrayBaseColumnType": of.element.jdbc if of.element else 0,
        "isAutoIncrement": origin.is_identity or origin.is_serial,
        "isCaseSensitive": of.name not in WITHOUT_CASE,
        "isCurrency": False,
        "isSigned": of.name in SIGNED,
        "label": name,
        "name": name,
        "nullable": origin.nullable,
        "precision": precision,
        "scale": scale,
        "schemaName": "",
        "tableName": origin.table,
        "type": of.jdbc,
        "typeName": SERIALS.get(of.name, of.name) if origin.is_serial else of.name,
    }


def size(name: str, modifier: int) -> tuple[int, int]:
    """Precision and scale; the modifier is what stands in brackets behind the type: numeric(10,4), varchar(20)."""
    if name == "numeric" and modifier >= 4:
        scale = (modifier - 4) & 0x7FF
        return (modifier - 4) >> 16 & 0xFFFF, scale - 0x800 if scale & 0x400 else scale
    if name in {"varchar", "bpchar"} and modifier >= 4:
        return modifier - 4, 0
    precision, scale = PRECISIONS.get(name, UNLIMITED), SCALES.get(name, 0)
    if scale == 6 and modifier >= 0:
        return precision - 6 + modifier - (not modifier), modifier
    return precision, scale
