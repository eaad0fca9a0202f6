"""Models, generated schemas and examples agree."""

import json
from pathlib import Path

import pytest
from jsonschema_rs import validator_for
from pydantic import BaseModel

from schemas.generate import FOLDER, MODELS, documents

EXAMPLES = sorted((FOLDER.parent / "examples").glob("*.json"))
BY_TITLE = {str(model.model_config["title"]): model for model in MODELS}


def _model(example: Path) -> type[BaseModel]:
    return BY_TITLE[".".join(example.name.split(".")[:2])]


def test_the_committed_schemas_are_the_generated_ones() -> None:
    """Mend with `make generate`."""
    assert documents() == {file.name: file.read_text() for file in FOLDER.glob("*.json")}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_every_example_fits_its_model_and_its_schema(example: Path) -> None:
    """An example that nothing accepts teaches nonsense."""
    model = _model(example)
    model.model_validate_json(example.read_text())
    schema = json.loads((FOLDER / f"{model.model_config['title']}.schema.json").read_text())

    assert validator_for(schema).is_valid(json.loads(example.read_text()))


def test_every_model_has_an_example() -> None:
    """No orphans."""
    assert set(MODELS) == {_model(example) for example in EXAMPLES}


@pytest.mark.parametrize("change", [{"op": "retract"}, {"tenant": "A"}, {"request_id": "\n"}, {"data": []}])
def test_events_that_break_a_rule_are_refused(change: dict[str, object]) -> None:
    """The schema is not just decoration."""
    event = json.loads((FOLDER.parent / "examples/feedback-event.v1.merge.json").read_text())

    with pytest.raises(ValueError, match="feedback-event"):
        BY_TITLE["feedback-event.v1"].model_validate(event | change)
