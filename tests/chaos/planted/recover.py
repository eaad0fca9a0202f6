"""An `afterword recover` that opens the next generation without filling its states: it forgets old rows."""

from services.cli import main
from services.commands.recover import acts


class _Forgetful(acts._Run):
    async def _fill(self, known: object) -> None:
        """Fill nothing."""


if __name__ == "__main__":
    vars(acts)["_Run"] = _Forgetful
    main()
