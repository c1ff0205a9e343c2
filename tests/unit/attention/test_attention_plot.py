"""The picture of an attention map: its size, its colours, and words that must not upset it."""

import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib
import pytest
import torch

from ella_core import ELLAError
from ella_core.attention.attention_plot import MOST_PANELS, WIDTH, WORDS_PER_PANEL, plot_attention

REPO = Path(__file__).resolve().parents[3]
LINES = ["What ELLA reads", "small.safetensors, blocks 1-2 of 2, heads 1-8 of 8"]


def plot(words, steps=20, values=None, lines=LINES):
    values = torch.rand(steps, len(words), generator=torch.Generator().manual_seed(0)) if values is None else values
    picture = plot_attention(values, torch.linspace(999, 0, len(values)).long().tolist(), words, lines)
    assert picture.dtype == torch.float32 and picture.ndim == 4 and picture.shape[3] == 3
    assert picture.min() >= 0 and picture.max() <= 1
    return picture


@pytest.mark.parametrize("number", [1, WORDS_PER_PANEL, WORDS_PER_PANEL + 1, 3 * WORDS_PER_PANEL])
def test_size(number):
    picture = plot(["word"] * number)
    panels = -(-number // WORDS_PER_PANEL)
    assert picture.shape[2] == WIDTH
    assert 260 * panels < picture.shape[1] < 100 + 500 * panels


def test_very_long_prompts_are_bounded_and_say_so():
    most = MOST_PANELS * WORDS_PER_PANEL
    whole, longer = plot(["word"] * most, steps=5), plot(["word"] * (most + 500), steps=5)
    assert whole.shape == longer.shape and longer.shape[1] < 6000
    assert not torch.equal(whole[:, :96], longer[:, :96])  # the header tells of the words that are left out


def colour(picture, value):
    """Number of pixels that have the colour scale's colour of a value."""
    expected = torch.tensor(matplotlib.colormaps["viridis"](value)[:3])
    return int(((picture - expected).abs().amax(dim=-1) < 0.003).sum())


def test_colours_are_the_values():
    """Bright where a word's attention is at its maximum: the right half at noise, nowhere else."""
    values = torch.zeros(4, 6)
    values[0, 3:] = 1
    picture = plot(["word"] * 6, values=values)
    top, bottom = picture[:, 96:148, 110:770], picture[:, 148:304, 110:770]
    assert colour(top[:, :, :330], 0.0) > 15000 and colour(top[:, :, 330:], 1.0) > 15000
    assert colour(top[:, :, :328], 1.0) == 0 and colour(bottom[:, 3:], 1.0) == 0


AWKWARD = {
    "mathematics": ["$5", "$x_1^{2$", "\\frac{", "$\\alpha$", "50%", "#1", "a_b", "~", "{}"],
    "markup": ["<unk>", "</s>", "<b>", "&amp;", '"fox"', "'", "\N{LOWER ONE EIGHTH BLOCK}"],
    "very long word": ["x" * 5000, "W" * 300],
    "accents": ["Caf\N{LATIN SMALL LETTER E WITH ACUTE}", "\u0431\u043e\u043b\u044c\u0448\u043e\u0439", "na\u00efve"],
}


@pytest.mark.parametrize("case", AWKWARD)
def test_awkward_words(case):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot(AWKWARD[case])


def test_a_dollar_is_a_dollar():
    """Between two dollars matplotlib would set mathematics, and draw neither of them."""

    def ink(word):
        return float((1 - plot([word], values=torch.ones(2, 1))[:, 306:]).sum())  # below the panel

    dollar = ink("$alpha") - ink("alpha")
    assert dollar > 50
    assert ink("$alpha$") - ink("alpha") == pytest.approx(2 * dollar, rel=0.2)


def test_chinese_and_emoji_are_drawn_somehow():
    with pytest.warns(UserWarning, match="missing from font"):
        plot(["\u72d0\u72f8", "\N{FOX FACE}"], lines=["\u72d0\u72f8.safetensors $"])


def test_other_packs_settings_of_matplotlib_play_no_part():
    expected = plot(["a", "red", "fox"])
    with matplotlib.rc_context({"font.size": 40, "text.usetex": True, "text.color": "white", "image.cmap": "gray"}):
        picture = plot(["a", "red", "fox"])
        assert matplotlib.rcParams["font.size"] == 40
    assert torch.equal(picture, expected)


def test_no_global_state():
    code = (
        "import sys, torch; from ella_core.attention.attention_plot import plot_attention;"
        "assert 'matplotlib' not in sys.modules;"
        "plot_attention(torch.ones(2, 1), [999, 0], ['fox'], ['title']);"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPO, check=True)


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    with pytest.raises(ELLAError, match="matplotlib, which is not installed"):
        plot(["fox"])
