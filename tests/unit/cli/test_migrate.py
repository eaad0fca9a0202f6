"""How a migration that a server cut off or refused ends."""

import pytest
from aiokafka.errors import InvalidReplicationFactorError, KafkaConnectionError, KafkaTimeoutError
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

from services.operations.exits import FOUND, UNREACHABLE
from services.operations.migrate.run import migration_error


@pytest.mark.parametrize(
    "error",
    [KafkaConnectionError("gone"), KafkaTimeoutError(), TimeoutError(), OperationalError("Network Error")],
)
def test_a_server_that_goes_away_is_unreachable(error: Exception) -> None:
    """The same call may work later."""
    assert migration_error(error).code == UNREACHABLE


@pytest.mark.parametrize(
    "error", [InvalidReplicationFactorError("3 of 1"), DatabaseError("Code: 497. no rights", code=497)]
)
def test_a_server_that_refuses_is_an_error_for_the_operator(error: Exception) -> None:
    """Trying again would change nothing; its own words say what would."""
    told = migration_error(error)

    assert told.code == FOUND
    assert "refuses: " in str(told)
