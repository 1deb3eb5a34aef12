"""What the Data API answers when it does not carry out a call: code, HTTP status, message."""

from typing import Any

from psycopg import pq

# The service model's statuses, and those of errors that every AWS service may answer.
STATUSES = {
    "AccessDeniedException": 403,
    "DatabaseNotFoundException": 404,
    "DatabaseUnavailableException": 504,
    "InternalFailure": 500,
    "InternalServerErrorException": 500,
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "ServiceUnavailableError": 503,
    "TransactionNotFoundException": 404,
    "UnknownOperationException": 404,
}


class ApiError(Exception):
    """An answer other than 200; `members` go into its body beside the message."""

    def __init__(self, code: str, message: str, *, sqlstate: str = "", **members: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.sqlstate = sqlstate
        self.status = STATUSES.get(code, 400)
        self.body = {"message": message, **members}


class TooLarge(ApiError):
    """More than may be answered."""


class Cut(Exception):
    """The connection is to be closed without an answer."""


def bad_request(message: str) -> ApiError:
    return ApiError("BadRequestException", message)


def invalid(message: str) -> ApiError:
    return ApiError("ValidationException", message)


def database_error(message: str, sqlstate: str = "") -> ApiError:
    end = f"; SQLState: {sqlstate}" if sqlstate else ""
    return ApiError("DatabaseErrorException", f"{message}{end}", sqlstate=sqlstate)


def database_unavailable() -> ApiError:
    return ApiError("DatabaseUnavailableException", "Database is unavailable. Try again later.")


def unknown_database(error: ApiError) -> ApiError:
    return ApiError("DatabaseNotFoundException", error.body["message"], sqlstate=error.sqlstate)


def unpinned(name: str, value: str) -> ApiError:
    return invalid(f"Results are read with {name} = {value}: the session whose statement has changed it is ended.")


def transaction_not_found(transaction_id: str) -> ApiError:
    return ApiError("TransactionNotFoundException", f"Transaction {transaction_id} is not found")


def timed_out(seconds: float, connection: int) -> ApiError:
    message = f"Request timed out: the statement ran longer than {seconds:g} seconds"
    return ApiError("StatementTimeoutException", message, dbConnectionId=connection)


def unsupported(message: str) -> ApiError:
    return ApiError("UnsupportedResultException", message)


def too_large(limit: int) -> ApiError:
    size = f"{limit / 1024 / 1024:g} MB" if limit >= 1024 * 1024 else f"{limit} bytes"
    return TooLarge("UnsupportedResultException", f"The result exceeds the size limit {size}.")


def refused_by_postgresql(result: pq.abc.PGresult) -> ApiError:
    """PostgreSQL's own error, without its detail: that would quote the values of rows."""
    field = pq.DiagnosticField
    parts = [f"{text(result, field.SEVERITY_NONLOCALIZED)}: {text(result, field.MESSAGE_PRIMARY)}"]
    if hint := text(result, field.MESSAGE_HINT):
        parts.append(f"Hint: {hint}")
    if position := text(result, field.STATEMENT_POSITION):
        parts.append(f"Position: {position}")
    return database_error("; ".join(parts), text(result, field.SQLSTATE))


def text(result: pq.abc.PGresult, field: pq.DiagnosticField) -> str:
    return (result.error_field(field) or b"").decode(errors="replace")
