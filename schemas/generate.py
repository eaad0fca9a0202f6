"""Write the JSON Schemas that the models generate: `python -m schemas.generate`.

The committed files are for readers and for other languages; a test proves that they are in step.
"""

import json
from pathlib import Path

from pydantic import BaseModel

from schemas.events import FeedbackEvent
from schemas.state import ErasedState, FeedbackState

FOLDER = Path(__file__).parent / "json"
MODELS: tuple[type[BaseModel], ...] = (FeedbackEvent, FeedbackState, ErasedState)


def documents() -> dict[str, str]:
    """Return the text of each schema file by its name."""
    return {f"{model.model_config['title']}.schema.json": _document(model) for model in MODELS}


def _document(model: type[BaseModel]) -> str:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every schema file."""
    for name, text in documents().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
