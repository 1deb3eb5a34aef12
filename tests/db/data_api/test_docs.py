"""The page on the Data API tells of what there is, and its examples run."""

import re
from datetime import date
from pathlib import Path
from textwrap import indent
from typing import Any

import db.data_api
import db.database
from db.data_api import DataApi
from db.local_data_api import Fault

PAGE = (Path(db.data_api.__file__).parents[2] / "docs" / "data-api.md").read_text()


async def test_the_first_example_runs(api: DataApi) -> None:
    await api.execute("create table people (id uuid, born date, tags text[])")
    await api.execute("insert into people values (gen_random_uuid(), '1990-01-02', '{a,b}')")
    example = re.search(r"```python\nfrom .*?\n\n(.*?)```", PAGE, re.DOTALL)
    assert example
    found: dict[str, Any] = {"api": api, "date": date, "DataApi": lambda *_: api, "cluster_arn": "", "secret_arn": ""}
    exec(f"async def run():\n{indent(example[1], '    ')}\n    return rows", found)  # the page's own words
    [row] = await found["run"]()
    assert (row["born"], row["tags"]) == (date(1990, 1, 2), ["a", "b"])


def test_every_fault_and_every_kind_of_failure_is_on_the_page() -> None:
    assert [fault for fault in Fault if f"`{fault}`" not in PAGE] == []
    kinds = [name for module in (db.data_api, db.database) for name, kind in vars(module).items() if is_failure(kind)]
    assert [name for name in kinds if f"`{name}`" not in PAGE] == []


def is_failure(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Exception)
