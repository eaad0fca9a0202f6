"""The dialects that ingest speaks: one file each, one row here.  Pure.

Where two dialects claim the same path, the first in the table gets it; under its own prefix, as in
`/gptboost/v1/feedback/`, each dialect has all of its paths.
"""

from services.ingest.dialects import gptboost, native, requesty
from services.ingest.dialects.dialect import Dialect

DIALECTS: tuple[Dialect, ...] = (requesty.DIALECT, gptboost.DIALECT, native.DIALECT)
