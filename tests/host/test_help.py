"""What the nodes say of themselves: tooltips, names in both languages, help pages, words to find them by."""

from pathlib import Path

import pytest
from english_names import text_of

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def schemas(host):
    """The schema of every node of the pack by its id."""
    classes = [cls for cls in host.node_classes.values() if cls.__module__.startswith(host.pack.__name__ + ".")]
    schemas = [cls.GET_SCHEMA() for cls in classes]
    return {schema.node_id: schema for schema in schemas}


def test_everything_is_explained(schemas):
    assert len(schemas) >= 4
    for schema in schemas.values():
        assert schema.display_name and schema.category and schema.description
        for one in [*schema.inputs, *schema.outputs]:
            assert one.tooltip, f"{schema.node_id} has no tooltip on {one.id}"


def test_english_names_are_the_schema_s(schemas):
    written = (REPO / "locales/en/nodeDefs.json").read_text(encoding="utf-8")
    assert written == text_of(schemas.values()), "run scripts/english_names.py"


def test_help_pages_name_every_input_and_output(host, schemas):
    import nodes

    docs = Path(nodes.EXTENSION_WEB_DIRS[REPO.name]) / "docs"
    for schema in schemas.values():
        for language in ("en", "zh"):
            text = (docs / schema.node_id / f"{language}.md").read_text(encoding="utf-8")
            outputs = [output.display_name or output.get_io_type() for output in schema.outputs]
            for name in [*(one.id for one in schema.inputs), *outputs]:
                assert f"`{name}`" in text, f"{schema.node_id}/{language}.md does not name {name}"


def test_search_finds_the_nodes(schemas):
    for schema in schemas.values():
        assert "ella" in schema.search_aliases, schema.node_id
    for node_id in ("ELLAT5TextEncode", "ELLAApplyConditioning"):
        assert {"t5", "long prompt", "dense prompt", "prompt following"} <= set(schemas[node_id].search_aliases)
