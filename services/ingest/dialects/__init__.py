"""The dialects of clients: one module each, and one row in the table DIALECTS.

If two dialects have the same path, the first in the table gets it; under its own prefix, as in
`/gptboost/v1/feedback/`, each dialect has all of its paths.  Read `dialect.py` first.  Like `core`, the
package is pure.
"""

from services.ingest.dialects import (
    gptboost,
    helicone,
    langfuse,
    langsmith,
    litellm,
    native,
    otel,
    phoenix,
    portkey,
    requesty,
    tensorzero,
)
from services.ingest.dialects.dialect import Dialect

DIALECTS: tuple[Dialect, ...] = (
    requesty.DIALECT,
    gptboost.DIALECT,
    native.DIALECT,
    helicone.DIALECT,
    langfuse.DIALECT,
    langsmith.DIALECT,
    litellm.DIALECT,
    otel.DIALECT,
    phoenix.DIALECT,
    portkey.DIALECT,
    tensorzero.DIALECT,
)
