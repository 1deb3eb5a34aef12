"""The events by which AWS hands on one HTTP request, or what lies in a queue or a topic."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from providers.adapter import WebhookRequest

Event = dict[str, Any]


def encoded(body: bytes, *, is_base64: bool) -> Event:
    text = base64.b64encode(body).decode() if is_base64 else body.decode()
    return {"body": text, "isBase64Encoded": is_base64}


def http_api_2(request: WebhookRequest, *, is_base64: bool = False) -> Event:
    path = f"/webhooks/{request.source}"
    return {
        "version": "2.0",
        "routeKey": "ANY /webhooks/{source}",
        "rawPath": path,
        "rawQueryString": urlencode(request.query),
        "headers": {"host": "api.example.com", **request.headers},
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "api",
            "domainName": "api.example.com",
            "http": {
                "method": request.method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.7",
                "userAgent": "test",
            },
            "requestId": "id",
            "stage": "$default",
        },
        **encoded(request.body, is_base64=is_base64),
    }


def function_url(request: WebhookRequest, *, is_base64: bool = False) -> Event:
    event = http_api_2(request, is_base64=is_base64)
    event["routeKey"] = "$default"
    event["requestContext"]["domainName"] = "id.lambda-url.eu-west-1.on.aws"
    return event


def http_api_1(request: WebhookRequest, *, is_base64: bool = False) -> Event:
    return {"version": "1.0", **rest(request, is_base64=is_base64)}


def rest(request: WebhookRequest, *, is_base64: bool = False) -> Event:
    path = f"/webhooks/{request.source}"
    headers = {"Host": "api.example.com", **{name.title(): value for name, value in request.headers.items()}}
    return {
        "resource": "/webhooks/{source}",
        "path": path,
        "httpMethod": request.method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": dict(request.query) or None,
        "multiValueQueryStringParameters": {name: [value] for name, value in request.query.items()} or None,
        "pathParameters": {"source": request.source},
        "requestContext": {
            "resourcePath": "/webhooks/{source}",
            "httpMethod": request.method,
            "path": path,
            "identity": {"sourceIp": "192.0.2.7"},
            "stage": "$default",
        },
        **encoded(request.body, is_base64=is_base64),
    }


def alb(request: WebhookRequest, *, is_base64: bool = False) -> Event:
    return {
        "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:eu-west-1:0:targetgroup/t/1"}},
        "httpMethod": request.method,
        "path": f"/webhooks/{request.source}",
        "queryStringParameters": dict(request.query),
        "headers": {"host": "lb.example.com", "x-forwarded-for": "192.0.2.7", **request.headers},
        **encoded(request.body, is_base64=is_base64),
    }


def alb_multi(request: WebhookRequest, *, is_base64: bool = False) -> Event:
    event = alb(request, is_base64=is_base64)
    event["multiValueHeaders"] = {name: [value] for name, value in event.pop("headers").items()}
    parameters = event.pop("queryStringParameters")
    event["multiValueQueryStringParameters"] = {name: [value] for name, value in parameters.items()}
    return event


HTTP_FORMS: Sequence[Callable[..., Event]] = (http_api_2, http_api_1, rest, function_url, alb, alb_multi)


def answer(result: Mapping[str, Any]) -> tuple[int, Any]:
    """What the front door would tell the provider: the status, and the JSON of the body."""
    body = result.get("body") or ""
    if result.get("isBase64Encoded"):
        body = base64.b64decode(body).decode()
    return result["statusCode"], json.loads(body) if body else None


def sqs(*bodies: str) -> Event:
    return {
        "Records": [
            {
                "messageId": f"message-{number}",
                "receiptHandle": "handle",
                "body": body,
                "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1700000000000"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-west-1:000000000000:queue",
                "awsRegion": "eu-west-1",
            }
            for number, body in enumerate(bodies)
        ]
    }


def sns(*envelopes: Mapping[str, Any]) -> Event:
    """As Lambda spells what SNS calls SigningCertURL and UnsubscribeURL."""
    spelt = {"SigningCertURL": "SigningCertUrl", "UnsubscribeURL": "UnsubscribeUrl"}
    return {
        "Records": [
            {
                "EventSource": "aws:sns",
                "EventVersion": "1.0",
                "EventSubscriptionArn": f"{envelope['TopicArn']}:00000000-0000-4000-8000-000000000000",
                "Sns": {spelt.get(name, name): value for name, value in envelope.items()},
            }
            for envelope in envelopes
        ]
    }


def ses_rule(mail: Mapping[str, Any], receipt: Mapping[str, Any]) -> Event:
    """As a receipt rule of SES invokes a function."""
    return {"Records": [{"eventSource": "aws:ses", "eventVersion": "1.0", "ses": {"mail": mail, "receipt": receipt}}]}
