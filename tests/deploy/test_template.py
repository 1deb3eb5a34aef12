"""The CloudFormation template that `make package` has written: nobody may more than needed, and nothing is lost in silence."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from webhooks.telemetry import CLOUDWATCH

ROOT = Path(__file__).parent.parent.parent
FUNCTIONS = {"Http", "Worker", "Upkeep"}
# What each function asks of AWS, and of which resource of ours.
ALLOWED: dict[str, dict[str, str | set[str]]] = {
    "Http": {
        "logs:CreateLogStream": "HttpLogGroup",
        "logs:PutLogEvents": "HttpLogGroup",
        "rds-data:ExecuteStatement": "Cluster",
        "rds-data:BeginTransaction": "Cluster",
        "rds-data:CommitTransaction": "Cluster",
        "rds-data:RollbackTransaction": "Cluster",
        "secretsmanager:GetSecretValue": {"Cluster", "secret:email-webhooks/dev/*"},
        "ssm:GetParameters": "parameter/email-webhooks/dev/*",
        "sqs:SendMessage": "Queue",
    },
    "Worker": {
        "logs:CreateLogStream": "WorkerLogGroup",
        "logs:PutLogEvents": "WorkerLogGroup",
        "rds-data:ExecuteStatement": "Cluster",
        "rds-data:BeginTransaction": "Cluster",
        "rds-data:CommitTransaction": "Cluster",
        "rds-data:RollbackTransaction": "Cluster",
        "secretsmanager:GetSecretValue": {"Cluster", "secret:email-webhooks/dev/*"},
        "ssm:GetParameters": "parameter/email-webhooks/dev/*",
        "sqs:ReceiveMessage": "Queue",
        "sqs:DeleteMessage": "Queue",
        "sqs:GetQueueAttributes": "Queue",
    },
    "Upkeep": {
        "logs:CreateLogStream": "UpkeepLogGroup",
        "logs:PutLogEvents": "UpkeepLogGroup",
        "rds-data:ExecuteStatement": "Cluster",
        "secretsmanager:GetSecretValue": "Cluster",
    },
}

pytestmark = pytest.mark.package


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    path = ROOT / ".serverless" / "cloudformation-template-update-stack.json"
    made: dict[str, Any] = json.loads(path.read_text())
    return made


@pytest.fixture(scope="module")
def resources(template: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = template["Resources"]
    return found


def statements(role: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for policy in role["Properties"]["Policies"]:
        yield from policy["PolicyDocument"]["Statement"]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def name_of(resource: Any) -> str:
    """The logical id that an ARN is got of, or the end of one that is written."""
    if "Fn::GetAtt" in resource:
        name: str = resource["Fn::GetAtt"][0]
        return name
    text: str = resource["Fn::Sub"]
    return re.split(r"\$\{AWS::AccountId\}:", text)[1]


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_may_what_it_does_and_no_more(resources: dict[str, Any], function: str) -> None:
    allowed: dict[str, set[str]] = {}
    for statement in statements(resources[f"{function}Role"]):
        assert statement["Effect"] == "Allow"
        for action in listed(statement["Action"]):
            allowed.setdefault(action, set()).update(map(name_of, listed(statement["Resource"])))
    expected = {action: each if isinstance(each, set) else {each} for action, each in ALLOWED[function].items()}
    assert allowed == expected
    assert resources[f"{function}LambdaFunction"]["Properties"]["Role"] == {"Fn::GetAtt": [f"{function}Role", "Arn"]}


def test_no_role_may_anything_at_all(resources: dict[str, Any]) -> None:
    for name, resource in resources.items():
        if resource["Type"] in {"AWS::IAM::Role", "AWS::IAM::Policy"}:
            assert name in {f"{function}Role" for function in FUNCTIONS}
            for statement in statements(resource):
                assert "*" not in listed(statement["Action"])
                assert "*" not in [each for each in listed(statement["Resource"]) if isinstance(each, str)]


def test_only_topics_that_are_named_may_write_to_the_queue(template: dict[str, Any]) -> None:
    policy = template["Resources"]["QueuePolicy"]
    [statement] = policy["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "sns.amazonaws.com"}
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": {"Fn::Split": [",", ""]}}}
    # None is named, and so there is no policy.
    assert policy["Condition"] == "FromTopics"
    assert template["Conditions"]["FromTopics"] == {"Fn::Not": [{"Fn::Equals": ["", ""]}]}


def test_what_the_function_gives_up_lies_in_the_queue(resources: dict[str, Any]) -> None:
    given_up = resources["HttpLambdaFunction"]["Properties"]["DeadLetterConfig"]
    assert given_up == {"TargetArn": {"Fn::GetAtt": ["Queue", "Arn"]}}


def test_the_function_answers_before_its_front_door_gives_up(resources: dict[str, Any]) -> None:
    integration = resources["HttpApiIntegrationHttp"]["Properties"]
    assert resources["HttpLambdaFunction"]["Properties"]["Timeout"] < integration.get("TimeoutInMillis", 30_000) / 1000
    assert integration["PayloadFormatVersion"] == "2.0"


def test_a_message_is_hidden_as_long_as_the_worker_may_take(resources: dict[str, Any]) -> None:
    source = resources["WorkerEventSourceMappingSQSQueue"]["Properties"]
    worker = resources["WorkerLambdaFunction"]["Properties"]
    window = source["MaximumBatchingWindowInSeconds"]
    assert resources["Queue"]["Properties"]["VisibilityTimeout"] >= 6 * worker["Timeout"] + window
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["BatchSize"] <= 10 or window >= 1
    assert 2 <= source["ScalingConfig"]["MaximumConcurrency"] <= 1000
    assert "ReservedConcurrentExecutions" not in worker


def test_what_cannot_be_recorded_is_kept_for_days_more(resources: dict[str, Any]) -> None:
    redrive = resources["Queue"]["Properties"]["RedrivePolicy"]
    assert redrive["deadLetterTargetArn"] == {"Fn::GetAtt": ["DeadLetters", "Arn"]}
    assert 3 <= redrive["maxReceiveCount"] <= 1000
    # Counted from when a message came into the first of the two.
    kept = [resources[name]["Properties"]["MessageRetentionPeriod"] for name in ("Queue", "DeadLetters")]
    assert kept == [10 * 86_400, 14 * 86_400]


def test_the_cluster_pauses_and_scales_within_its_bounds_and_is_no_ones_but_ours(resources: dict[str, Any]) -> None:
    cluster = resources["Cluster"]["Properties"]
    scaling = cluster["ServerlessV2ScalingConfiguration"]
    assert 0 <= scaling["MinCapacity"] <= scaling["MaxCapacity"] <= 256
    assert (scaling["MinCapacity"] * 2) % 1 == (scaling["MaxCapacity"] * 2) % 1 == 0
    if scaling["MinCapacity"] == 0:
        assert 300 <= scaling["SecondsUntilAutoPause"] <= 86_400
    assert cluster["EnableHttpEndpoint"] is True
    assert cluster["ManageMasterUserPassword"] is True
    assert "MasterUserPassword" not in cluster
    assert cluster["StorageEncrypted"] is True
    assert resources["Cluster"]["DeletionPolicy"] == "Snapshot"
    assert "SecurityGroupIngress" not in resources["SecurityGroup"]["Properties"]
    assert resources["Writer"]["Properties"]["PubliclyAccessible"] is False


def test_the_front_door_is_throttled_and_no_account_is_too_small(resources: dict[str, Any]) -> None:
    settings = resources["HttpApiStage"]["Properties"]["DefaultRouteSettings"]
    assert settings["ThrottlingRateLimit"] > 0
    assert settings["ThrottlingBurstLimit"] >= settings["ThrottlingRateLimit"]
    assert settings["DetailedMetricsEnabled"] is True
    reserved = resources["HttpLambdaFunction"]["Properties"]["ReservedConcurrentExecutions"]
    assert reserved == {"Ref": "AWS::NoValue"}


def test_every_trouble_raises_an_alarm_that_somebody_hears(resources: dict[str, Any]) -> None:
    alarms = [each["Properties"] for each in resources.values() if each["Type"] == "AWS::CloudWatch::Alarm"]
    assert {(each["Namespace"], each["MetricName"]) for each in alarms} == {
        ("AWS/ApiGateway", "5xx"),
        ("AWS/Lambda", "Errors"),
        ("AWS/Lambda", "Throttles"),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage"),
        ("EmailWebhooks/dev", "refused"),
        ("EmailWebhooks/dev", "dead"),
    }
    assert all(each["AlarmActions"] == [{"Ref": "Alerts"}] and each["AlarmDescription"] for each in alarms)
    # CloudWatch may not publish to a topic that is encrypted with a key of AWS's own.
    assert "KmsMasterKeyId" not in resources["Alerts"].get("Properties", {})


def test_the_functions_count_where_the_alarms_look(resources: dict[str, Any]) -> None:
    for function in ("Http", "Worker"):
        given = resources[f"{function}LambdaFunction"]["Properties"]["Environment"]["Variables"]
        assert given["AWS_EMF_NAMESPACE"] == "EmailWebhooks/dev"
    for name, counted in (("Refused", "refused"), ("Unreadable", "dead")):
        alarm = resources[f"{name}Alarm"]["Properties"]
        # Of all sources: no alarm is missing for one that is added.
        assert "Dimensions" not in alarm
        assert counted in CLOUDWATCH
        # Also where a delivery comes once in a while.
        assert alarm["Period"] >= 900


def test_logs_end_some_day(resources: dict[str, Any]) -> None:
    groups = [each["Properties"] for each in resources.values() if each["Type"] == "AWS::Logs::LogGroup"]
    assert len(groups) == len(FUNCTIONS) + 1
    assert all(each["RetentionInDays"] for each in groups)
    # The group that Aurora would make for itself has none.
    assert "EnableCloudwatchLogsExports" not in resources["Cluster"]["Properties"]


def test_functions_run_what_was_packaged_for_them(resources: dict[str, Any]) -> None:
    for function in FUNCTIONS:
        properties = resources[f"{function}LambdaFunction"]["Properties"]
        assert (properties["Runtime"], properties["Architectures"]) == ("python3.13", ["arm64"])
        module = "upkeep_lambda" if function == "Upkeep" else "aws_lambda"
        assert properties["Handler"] == f"webhooks.{module}.handler"


def test_the_template_holds_no_secret_but_says_where_they_lie(template: dict[str, Any]) -> None:
    variables = template["Resources"]["HttpLambdaFunction"]["Properties"]["Environment"]["Variables"]
    assert json.loads(variables["WEBHOOKS_SOURCES"]) == {"sendgrid": {"keys": ["ssm:/email-webhooks/dev/sendgrid"]}}
    assert variables["WEBHOOKS_SECRET_ARN"] == {"Fn::GetAtt": ["Cluster", "MasterUserSecret.SecretArn"]}
    assert (
        "WEBHOOKS_SOURCES"
        not in template["Resources"]["UpkeepLambdaFunction"]["Properties"]["Environment"]["Variables"]
    )
    for name in ("UrlOfSendgrid", "ClusterArn", "SecretArn", "QueueArn", "DeadLettersArn"):
        assert name in template["Outputs"]


def test_each_source_has_an_address_among_the_outputs_whatever_its_name() -> None:
    sources: dict[str, Any] = {name: {"keys": []} for name in ("sendgrid", "eu-", "a-b", "a_b", "a.b", "aB2", "-", "é")}
    program = f"""
        const framework = {{ resolveVariable: async (name) => (name.startsWith("env:") ? {json.dumps(json.dumps(sources))} : "x") }};
        require("./deploy/stack.js").outputs(framework).then((found) => console.log(JSON.stringify(found)));
    """
    ran = subprocess.run(["node", "-e", program], cwd=ROOT, capture_output=True, text=True, check=True)
    urls = {name: each["Value"]["Fn::Sub"] for name, each in json.loads(ran.stdout).items() if name.startswith("UrlOf")}
    assert all(re.fullmatch("[A-Za-z0-9]+", name) for name in urls)
    assert [url.rpartition("/")[2] for url in urls.values()] == list(sources)
    assert list(urls)[:4] == ["UrlOfSendgrid", "UrlOfEu", "UrlOfAB", "UrlOfAB2"]
