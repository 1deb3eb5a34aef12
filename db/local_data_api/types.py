"""PostgreSQL's types: which of them the Data API can answer, how, and what its metadata say of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from db.local_data_api.connection import Connection

UNLIMITED = 2**31 - 1
ARRAY, OTHER = 2003, 1111


@dataclass(frozen=True, slots=True)
class Type:
    """`kind` says how a value is read; none: the Data API does not answer this type."""

    name: str
    jdbc: int = OTHER
    kind: str = ""
    in_arrays: bool = False
    element: "Type | None" = None

    @property
    def shown(self) -> str:
        """As errors name it: the older types in capitals."""
        return SHOWN.get(self.name) or (self.name.upper() if self.name in IN_CAPITALS else self.name)


IN_CAPITALS = frozenset(
    "bit box circle interval line lseg macaddr macaddr8 money path point polygon timetz varbit".split()
)
SHOWN = {"char": '"CHAR"'}

# By number, as in pg_type: (its array's number, the type). What is not here is looked up.
SCALARS: Mapping[int, tuple[int, Type]] = {
    16: (1000, Type("bool", -7, "boolean", in_arrays=True)),
    17: (1001, Type("bytea", -2, "blob")),
    19: (1003, Type("name", 12, "string", in_arrays=True)),
    20: (1016, Type("int8", -5, "long", in_arrays=True)),
    21: (1005, Type("int2", 5, "long", in_arrays=True)),
    23: (1007, Type("int4", 4, "long", in_arrays=True)),
    25: (1009, Type("text", 12, "string", in_arrays=True)),
    26: (1028, Type("oid", -5, "string")),
    114: (199, Type("json", OTHER, "json", in_arrays=True)),
    650: (651, Type("cidr", OTHER, "string")),
    700: (1021, Type("float4", 7, "double", in_arrays=True)),
    701: (1022, Type("float8", 8, "double", in_arrays=True)),
    869: (1041, Type("inet", OTHER, "string")),
    1042: (1014, Type("bpchar", 1, "string", in_arrays=True)),
    1043: (1015, Type("varchar", 12, "string", in_arrays=True)),
    1082: (1182, Type("date", 91, "temporal", in_arrays=True)),
    1083: (1183, Type("time", 92, "temporal", in_arrays=True)),
    1114: (1115, Type("timestamp", 93, "temporal", in_arrays=True)),
    1184: (1185, Type("timestamptz", 93, "timestamptz", in_arrays=True)),
    1700: (1231, Type("numeric", 2, "decimal", in_arrays=True)),
    2950: (2951, Type("uuid", OTHER, "string", in_arrays=True)),
    3802: (3807, Type("jsonb", OTHER, "json", in_arrays=True)),
    3904: (3905, Type("int4range", OTHER, "string")),
    3906: (3907, Type("numrange", OTHER, "string")),
    # What a function without a result gives: `select pg_sleep(1)`.
    2278: (0, Type("void", OTHER, "string")),
}
# Their arrays can be answered, they themselves cannot.
ONLY_IN_ARRAYS: Mapping[int, tuple[int, Type]] = {1560: (1561, Type("bit", -7, "string", in_arrays=True))}
# Types of extensions, by name: their numbers differ from database to database.
EXTENSIONS = {"citext": 12, "vector": OTHER}


def known_types() -> dict[int, Type]:
    types = {number: of for number, (_, of) in SCALARS.items()}
    for array_number, of in (*SCALARS.values(), *ONLY_IN_ARRAYS.values()):
        types[array_number] = Type(f"_{of.name}", ARRAY, element=of)
    return types


KNOWN = known_types()

LOOK_UP = """
select t.oid, t.typname, t.typtype, e.typname, e.typtype
  from pg_catalog.pg_type t
  left join pg_catalog.pg_type e on e.typarray = t.oid
 where t.oid = any($1)
"""


async def types_of(numbers: Iterable[int], connection: Connection) -> list[Type]:
    """The types of these numbers; the database is asked for those of its own."""
    numbers = list(numbers)
    types = KNOWN
    if unknown := set(numbers) - KNOWN.keys():
        rows = await connection.rows(LOOK_UP, f"{{{','.join(map(str, unknown))}}}")
        types = KNOWN | {int(number or 0): looked_up(*names) for number, *names in rows}
    return [types.get(number, Type("unknown")) for number in numbers]


def looked_up(name: str | None, kind: str | None, element: str | None = None, element_kind: str | None = None) -> Type:
    name = name or ""
    if element is not None:
        return Type(name, ARRAY, element=looked_up(element, element_kind))
    if kind == "e":
        return Type(name, 12, "string")
    if name in EXTENSIONS:
        return Type(name, EXTENSIONS[name], "string")
    return Type(name)
