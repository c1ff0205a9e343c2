"""What assets/small_world holds follows prompts: drawn narrow and judged, and its committed study drawn again."""

from pathlib import Path

import pytest
import torch

from ella_core import load_connector, load_text_encoder
from ella_core.errors import ELLAError
from small_world.base_model import load_autoencoder, load_base
from small_world.export import FILES, MOST_BYTES
from small_world.figures import figures
from small_world.measure import asked, draw_prompts, summary
from small_world.packaged_models import language_model
from small_world.study import own_tokens, tokens_of

REPO = Path(__file__).resolve().parents[2]
STORED = REPO / "assets/small_world"
KEPT = REPO / ".host/packages"  # the same place as tests/unit/language_models/test_real_models.py


def test_the_files_are_small_enough_for_the_repository():
    assert sum((STORED / name).stat().st_size for name in FILES) <= MOST_BYTES


def test_the_connector_binds_twice_as_many_shapes_as_the_bases_own_encoder():
    try:
        encoder = load_text_encoder(language_model("minilm", KEPT))
    except ELLAError as error:
        pytest.skip(str(error))
    base, autoencoder = load_base(STORED), load_autoencoder(STORED)
    connector = load_connector(STORED / "connector.safetensors").float().requires_grad_(False)
    prompts = [one for one in asked(60, first=1000) if len(one.scene.shapes) >= 4]
    bound = {}
    for name, tokens_at in (("ella", tokens_of(connector, encoder)), ("own", own_tokens(base))):
        with torch.inference_mode():
            rights = [right for right, _ in draw_prompts(base.unet, autoencoder, tokens_at, prompts)]
        bound[name] = summary(rights)["all"]["bound"]
    assert bound["ella"] >= 2 * bound["own"]


def test_the_committed_study_is_drawn_again(tmp_path):
    committed = REPO / "docs/small_world"
    assert figures([committed], tmp_path) == (committed / "table.md").read_text()
