"""What the Data API, the SDK and the network say of a failure, in our own words: by code and SQLSTATE."""

import re
from collections.abc import Mapping

from aiohttp import ClientConnectorError
from botocore import exceptions
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    HTTPClientError,
    ResponseStreamingError,
)
from botocore.parsers import ResponseParserError

from db.database import BadData, DatabaseMisconfigured, DatabaseUnavailable, TooMuch, by_sqlstate

Failure = DatabaseUnavailable | BadData


class NotBegun(DatabaseUnavailable):
    """Nothing of it reached the database."""


class DatabaseResuming(NotBegun):
    """The database was paused, for nobody used it, and is waking: some 15 s, 30 s and more after a day."""


class Throttled(NotBegun):
    """More calls than AWS takes."""


class StatementTimedOut(TooMuch):
    """The Data API's 45 s are over. The statement was rolled back, unless it was told to continue."""


class TransactionGone(DatabaseUnavailable):
    """The transaction has ended before its commit (3 minutes idle, 24 hours, an error): nothing of it is there."""


class OutcomeUnknown(DatabaseUnavailable):
    """The commit's answer was lost: all of the transaction is there, or nothing. Look before you send it again."""


SQLSTATE = re.compile(r"SQLState: ([0-9A-Z]{5})\b")
# Where one code stands for several things, only its words tell which.
TOO_LARGE = re.compile(r"size limit|too large", re.IGNORECASE)
NOT_ENABLED = re.compile(r"HttpEndpoint is not enabled", re.IGNORECASE)

ERRORS: Mapping[str, type[Failure]] = {
    "DatabaseResumingException": DatabaseResuming,
    "ThrottlingException": Throttled,
    "Throttling": Throttled,
    "TooManyRequestsException": Throttled,
    "RequestLimitExceeded": Throttled,
    "StatementTimeoutException": StatementTimedOut,
    "TransactionNotFoundException": TransactionGone,
    "NotFoundException": TransactionGone,
    "BadRequestException": BadData,
    "DatabaseErrorException": DatabaseUnavailable,
    "InvalidResourceStateException": DatabaseUnavailable,
    "RequestTimeout": DatabaseUnavailable,
    "RequestTimeoutException": DatabaseUnavailable,
}
STATUSES: Mapping[int, type[Failure]] = {408: DatabaseUnavailable, 413: TooMuch, 429: Throttled}

CREDENTIALS = (
    "give the AWS SDK credentials that are valid: a role, AWS_PROFILE, or AWS_ACCESS_KEY_ID and its companions"
)
RIGHTS = (
    "allow, in the IAM policy of whoever calls, rds-data:ExecuteStatement, rds-data:BatchExecuteStatement,"
    " rds-data:BeginTransaction, rds-data:CommitTransaction and rds-data:RollbackTransaction on the cluster, and"
    " secretsmanager:GetSecretValue on the secret (with a key of your own also kms:Decrypt)"
)
UNREADABLE = (
    "name the secret of this very cluster, its ARN as Secrets Manager shows it, letter by letter; it must lie in the"
    ' cluster\'s region, hold "username" and "password", and whoever calls must be allowed secretsmanager:GetSecretValue'
    " on it"
)
# What to do, by code or SQLSTATE.
ADVICE: Mapping[str, str] = {
    "HttpEndpointNotEnabledException": (
        "switch the Data API on for this cluster: aws rds enable-http-endpoint --resource-arn CLUSTER_ARN, or"
        ' "Enable the RDS Data API" in the console'
    ),
    "DatabaseNotFoundException": (
        "check the cluster's ARN and the database's name: AWS compares them letter by letter, the cluster's id is lower"
        " case, and a renamed cluster has a new ARN"
    ),
    "AccessDeniedException": RIGHTS,
    "AccessDenied": RIGHTS,
    "ForbiddenException": RIGHTS,
    "SecretsErrorException": UNREADABLE,
    "InvalidSecretException": UNREADABLE,
    "UnrecognizedClientException": CREDENTIALS,
    "InvalidClientTokenId": CREDENTIALS,
    "InvalidSignatureException": f"{CREDENTIALS}; the clock must be right too",
    "SignatureDoesNotMatch": f"{CREDENTIALS}; the clock must be right too",
    "IncompleteSignature": CREDENTIALS,
    "IncompleteSignatureException": CREDENTIALS,
    "MissingAuthenticationToken": CREDENTIALS,
    "MissingAuthenticationTokenException": CREDENTIALS,
    "ExpiredToken": CREDENTIALS,
    "ExpiredTokenException": CREDENTIALS,
    "NoCredentialsError": CREDENTIALS,
    "PartialCredentialsError": CREDENTIALS,
    "ProfileNotFound": CREDENTIALS,
    "StatementTimeoutException": "ask for less at once; where it was to continue after the timeout, look again later",
    "UnsupportedResultException": "cast the column in the statement: column::text",
    "28P01": (
        "the secret's user and password do not open this cluster: the secret is another cluster's, or the password was"
        " changed in one place only"
    ),
    "28000": (
        "this user may not log in with a password, and the Data API knows no other way: let the secret name a user with"
        " password authentication (not one that is granted rds_iam, whose tokens are not passwords)"
    ),
}
SMALLER = "ask for fewer rows at once (limit, or page by key), or for parts of a long value (substr)"


def translated(error: BaseException) -> Failure | None:
    """Ours for what an SDK call raised; nothing for what is no failure of the call."""
    if isinstance(error, ClientError):
        return answered(error)
    if isinstance(error, NOT_SENT) or isinstance(cause(error), ClientConnectorError):
        return NotBegun(f"the Data API cannot be reached: {error}")
    if isinstance(error, LOST):
        return DatabaseUnavailable(f"the Data API's answer was lost: {type(error).__name__}: {error}")
    if isinstance(error, BotoCoreError):
        # No credentials, no such profile: said by the SDK before anything was sent.
        return DatabaseMisconfigured(advised(f"the AWS SDK: {error}", type(error).__name__))
    return None


NOT_SENT = (ConnectTimeoutError, CredentialRetrievalError)
LOST = (
    exceptions.ConnectionError,
    HTTPClientError,
    ResponseParserError,
    ResponseStreamingError,
    OSError,
    TimeoutError,
)


def cause(error: BaseException) -> object:
    """What the HTTP client said: the SDK calls a refused connection and one that broke while in use by one name."""
    return getattr(error, "kwargs", {}).get("error")


def answered(error: ClientError) -> Failure:
    """For what AWS answered."""
    response: Mapping[str, Mapping[str, object]] = error.response
    code = str(response.get("Error", {}).get("Code", ""))
    message = str(response.get("Error", {}).get("Message", ""))
    status = int(str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)))
    if state := sqlstate(message):
        return by_sqlstate(state, advised(message, state))
    if TOO_LARGE.search(message) and code in {"UnsupportedResultException", "BadRequestException"}:
        return TooMuch(f"{code}: {message}: {SMALLER}")
    if NOT_ENABLED.search(message):
        code = "HttpEndpointNotEnabledException"
    # Which of the actions is missing, if AWS should not say it.
    what = f"{code} for rds-data:{error.operation_name}" if status == 403 else code
    return kind(code, status)(advised(f"{what}: {message}", code))


def kind(code: str, status: int) -> type[Failure]:
    """Of an answer without SQLSTATE. What AWS refuses by a name that we do not know, it will refuse again."""
    unknown = DatabaseUnavailable if status >= 500 else DatabaseMisconfigured
    return ERRORS.get(code, STATUSES.get(status, unknown))


def sqlstate(message: str) -> str:
    """It is the last thing that the Data API says; what a user's own trigger says may hold another before."""
    found = SQLSTATE.findall(message)
    return found[-1] if found else ""


def advised(message: str, name: str) -> str:
    return f"{message}: {ADVICE[name]}" if name in ADVICE else message
