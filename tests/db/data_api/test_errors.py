"""What each failure is to us, by its code and SQLSTATE, and what it says must be done."""

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from db.data_api import DatabaseResuming, StatementTimedOut, Throttled, TransactionGone
from db.data_api.errors import translated
from db.database import (
    BadData,
    DatabaseMisconfigured,
    DatabaseUnavailable,
    IntegrityViolated,
    SerializationFailed,
    TooMuch,
)


def said(code: str, status: int, message: str) -> Exception:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error: Exception = ClientError(response, "ExecuteStatement")
    return error


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("DatabaseResumingException", 400, DatabaseResuming),
        ("DatabaseUnavailableException", 504, DatabaseUnavailable),
        ("ServiceUnavailableError", 503, DatabaseUnavailable),
        ("InternalServerErrorException", 500, DatabaseUnavailable),
        ("InternalFailure", 500, DatabaseUnavailable),
        ("502", 502, DatabaseUnavailable),
        ("InvalidResourceStateException", 400, DatabaseUnavailable),
        ("ThrottlingException", 400, Throttled),
        ("TooManyRequests", 429, Throttled),
        ("StatementTimeoutException", 400, StatementTimedOut),
        ("413", 413, TooMuch),
        ("TransactionNotFoundException", 404, TransactionGone),
        ("NotFoundException", 404, TransactionGone),
        ("BadRequestException", 400, BadData),
        ("DatabaseErrorException", 400, DatabaseUnavailable),
        ("ValidationException", 400, DatabaseMisconfigured),
        ("SomethingNew", 400, DatabaseMisconfigured),
    ],
)
def test_a_code_says_what_a_failure_is(code: str, status: int, kind: type[Exception]) -> None:
    assert type(translated(said(code, status, "whatever"))) is kind


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        ("22P02", BadData),
        ("23505", IntegrityViolated),
        ("54000", BadData),
        ("P0001", BadData),
        ("40001", SerializationFailed),
        ("40P01", SerializationFailed),
        ("57014", TooMuch),
        ("53300", DatabaseUnavailable),
        ("08006", DatabaseUnavailable),
        ("57P03", DatabaseUnavailable),
        ("42P01", DatabaseMisconfigured),
        ("42501", DatabaseMisconfigured),
        ("28P01", DatabaseMisconfigured),
        ("25001", DatabaseMisconfigured),
    ],
)
def test_an_sqlstate_outweighs_the_code_it_comes_with(sqlstate: str, kind: type[Exception]) -> None:
    message = f"ERROR: a trigger may say SQLState: 00000; Hint: x; Position: 7; SQLState: {sqlstate}"
    for code in ("DatabaseErrorException", "BadRequestException"):
        error = translated(said(code, 400, message))
        assert type(error) is kind
        assert error.sqlstate == sqlstate


@pytest.mark.parametrize(
    ("code", "message", "kind", "words"),
    [
        ("HttpEndpointNotEnabledException", "?", DatabaseMisconfigured, "aws rds enable-http-endpoint"),
        ("BadRequestException", "HttpEndpoint is not enabled for x", DatabaseMisconfigured, "enable-http-endpoint"),
        ("DatabaseNotFoundException", "?", DatabaseMisconfigured, "lower case"),
        ("SecretsErrorException", "?", DatabaseMisconfigured, "secretsmanager:GetSecretValue"),
        ("InvalidSecretException", "?", DatabaseMisconfigured, '"username" and "password"'),
        ("AccessDeniedException", "not authorized", DatabaseMisconfigured, "rds-data:ExecuteStatement"),
        ("ForbiddenException", "?", DatabaseMisconfigured, "IAM policy"),
        ("ExpiredTokenException", "?", DatabaseMisconfigured, "credentials"),
        ("DatabaseErrorException", "FATAL: x; SQLState: 28P01", DatabaseMisconfigured, "another cluster's"),
        ("DatabaseErrorException", "FATAL: x; SQLState: 28000", DatabaseMisconfigured, "password"),
        ("DatabaseErrorException", "ERROR: x; SQLState: 42P01", DatabaseMisconfigured, "webhooks migrate"),
        ("UnsupportedResultException", "The result contains the unsupported data type X.", DatabaseMisconfigured, "::text"),
        ("UnsupportedResultException", "The result exceeds the size limit 1 MB.", TooMuch, "fewer rows"),
        ("BadRequestException", "Database returned more than the allowed response size limit", TooMuch, "limit"),
        ("StatementTimeoutException", "?", StatementTimedOut, "continue"),
    ],
)  # fmt: skip
def test_what_somebody_must_mend_says_how(code: str, message: str, kind: type[Exception], words: str) -> None:
    error = translated(said(code, 400, message))
    assert type(error) is kind
    assert words in str(error)


def test_what_the_sdk_itself_lacks_says_so_and_what_is_no_failure_of_a_call_stays_as_it_is() -> None:
    assert "AWS_PROFILE" in str(translated(NoCredentialsError()))
    assert translated(KeyError("a bug")) is None
