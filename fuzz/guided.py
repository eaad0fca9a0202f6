"""A parser under atheris, which looks for inputs that reach new code.

    python -m fuzz.guided NAME SECONDS DIRECTORY

Whatever the target raises ends the run with a code that is not 0, and the input is kept in the directory.
"""

import sys
from pathlib import Path

import atheris

# Not all that is imported: instrumenting takes a while.
with atheris.instrument_imports(
    include=[
        "schemas",
        "services.ingest",
        "chdb_server.core.statements",
        "services.merger",
        "services.query",
        "services.sink.core.rows",
    ]
):
    from fuzz.parsers import TARGETS
from fuzz.seeds import SEEDS, WORDS

_LONGEST = 20
"""Seconds that one input may take."""


def main(name: str, seconds: int, directory: Path) -> None:
    """Fuzz one target; never returns, since libFuzzer ends the process."""
    corpus, dictionary = directory / name, directory / f"{name}.dict"
    corpus.mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate(SEEDS[name]):
        (corpus / f"seed-{index}").write_bytes(seed)
    dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in WORDS))
    target = TARGETS[name]

    def once(data: bytes) -> None:
        target(data)

    options = (
        f"-max_total_time={seconds}",
        f"-timeout={_LONGEST}",
        "-rss_limit_mb=1500",
        "-max_len=4096",
        "-print_final_stats=1",
        f"-artifact_prefix={directory}/{name}-",
        f"-dict={dictionary}",
    )
    atheris.Setup([sys.argv[0], *options, str(corpus)], once)
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
