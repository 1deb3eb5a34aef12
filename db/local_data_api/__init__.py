"""An HTTP server that speaks the RDS Data API over any PostgreSQL: the Lambda path, offline.

app = create_app("postgresql://me@localhost/app", faults=faults, calls=calls)
async with serving(app) as url: ...   # in this event loop, on a free port; what tests use
serve(app, port=8002)                 # until it is told to stop; what `webhooks data-api` uses
"""

from db.local_data_api.app import CLUSTER_ARN, REGION, SECRET_ARN, create_app
from db.local_data_api.calls import Call
from db.local_data_api.faults import Fault, Faults
from db.local_data_api.limits import Limits
from db.local_data_api.server import environment, serve, serving

__all__ = [
    "CLUSTER_ARN",
    "REGION",
    "SECRET_ARN",
    "Call",
    "Fault",
    "Faults",
    "Limits",
    "create_app",
    "environment",
    "serve",
    "serving",
]
