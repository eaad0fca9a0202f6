"""An `afterword recover` that opens the next generation without filling its states: it forgets old rows."""

from services.cli.app import main
from services.operations.recover import run


class _Forgetful(run._Recovery):
    async def _fill(self, known: object) -> None:
        """Fill nothing."""


if __name__ == "__main__":
    vars(run)["_Recovery"] = _Forgetful
    main()
