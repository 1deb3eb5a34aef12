"""The functions under the settings that `make package` has written into the template, with keys by reference."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from db.local_data_api import CLUSTER_ARN, SECRET_ARN
from providers.adapter import Adapter
from tests.aws_lambda import events
from tests.aws_lambda.conftest import client, invoke
from tests.aws_lambda.runtime import Runtime
from tests.aws_lambda.test_handler import signed

if TYPE_CHECKING:
    from tests.conftest import LocalDataApis

ROOT = Path(__file__).parent.parent.parent
NOWHERE = "http://127.0.0.1:1"
# What CloudFormation puts in the place of its functions.
MADE = {"Cluster.DBClusterArn": CLUSTER_ARN, "Cluster.MasterUserSecret.SecretArn": SECRET_ARN}

pytestmark = pytest.mark.package


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    path = ROOT / ".serverless" / "cloudformation-template-update-stack.json"
    made: dict[str, Any] = json.loads(path.read_text())["Resources"]
    return made


def variables(function: dict[str, Any]) -> dict[str, str]:
    given = function["Properties"]["Environment"]["Variables"]
    texts = {name: MADE[".".join(each["Fn::GetAtt"])] if "Fn::GetAtt" in each else each for name, each in given.items()}
    # In mode direct there is no queue.
    return {name: each for name, each in texts.items() if isinstance(each, str)}


@pytest.mark.parametrize("name", ["Http", "Worker", "Upkeep"])
async def test_each_function_starts_with_what_it_is_given_and_may(
    name: str,
    resources: dict[str, Any],
    aws: str,
    adapter: Adapter,
    data_apis: "LocalDataApis",
    database_url: str,
    tmp_path: Path,
) -> None:
    function = resources[f"{name}LambdaFunction"]
    client("ssm", aws).put_parameter(
        Name="/email-webhooks/dev/sendgrid", Value=adapter.keys[0], Type="SecureString", Overwrite=True
    )
    environment = variables(function) | {
        "WEBHOOKS_DATABASE": database_url.rpartition("/")[2].partition("?")[0],
        "AWS_ENDPOINT_URL_RDS_DATA": await data_apis.at(database_url),
        # Whose role may read no key has nowhere to read it.
        "AWS_ENDPOINT_URL_SSM": aws if "ssm:GetParameters" in json.dumps(resources[f"{name}Role"]) else NOWHERE,
    }
    event = {
        "Http": events.http_api_2(signed(adapter)),
        "Worker": events.sqs("nobody's"),
        "Upkeep": json.loads(resources["UpkeepEventsRuleSchedule1"]["Properties"]["Targets"][0]["Input"]),
    }[name]
    with Runtime(tmp_path / "log", environment, handler=function["Properties"]["Handler"]) as runtime:
        result = (await invoke(runtime, event)).result
    assert (
        result.get("statusCode", result)
        == {
            "Http": 200,
            "Worker": {"batchItemFailures": [{"itemIdentifier": "message-0"}]},
            "Upkeep": {"opted_out": 0, "tokens": 0, "payloads": 0},
        }[name]
    )
