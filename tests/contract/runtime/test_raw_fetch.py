"""The reach into aiokafka's fetcher: no upgrade may move one of these names."""

import inspect

from aiokafka.consumer import fetcher


def test_a_fetch_is_noted_and_asked_for_by_the_names_that_are_replaced() -> None:
    """Else records would be decoded in aiokafka's own way, or by nobody."""
    source = inspect.getsource(fetcher.Fetcher)

    assert "self._records[tp] = FetchResult(" in source
    assert "type(res_or_error) is FetchResult" in source
    assert "res_or_error.getall(max_records)" in source
    assert list(inspect.signature(fetcher.FetchResult.getall).parameters) == ["self", "max_records"]
    for name in ("_topic_partition", "_partition_records", "_assignment"):
        assert f"self.{name} = " in inspect.getsource(fetcher.FetchResult.__init__)
    for name in ("_records", "_tp", "_check_crcs", "_isolation_level", "_aborted_producers"):
        assert f"self.{name} = " in inspect.getsource(fetcher.PartitionRecords.__init__)
