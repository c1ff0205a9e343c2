"""Each judge on a random model of its true architecture, against the model's own output asked another way.

Tolerances: the oracle asks one question at a time without padding, so the sums of float32 differ in order: 1e-5.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
import transformers
from PIL import Image

from evaluation.errors import EvaluationError
from evaluation.judge import Options, load_judge
from evaluation.judges import JUDGES
from evaluation.judges.answer_words import AnswerWords, is_answer, word_of
from evaluation.judges.judge import fingerprint
from evaluation.suites.suite import MATCH, NUMBER, OBJECTS, SPATIAL, Question

REPO = Path(__file__).resolve().parents[2]
QUESTIONS = [
    Question(1, "Is there a red dog?"),
    Question(2, "Is the (blue) cat on the left of the green house, and is there one dog in the picture?"),
    Question(3, "How many dogs?", kind=NUMBER, expected="two"),
]


def noise(seed, size=(100, 80)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


PICTURES = [noise(0), noise(1, (64, 90)), noise(0)]


def judge_of(kind, folder, **options):
    options = Options(run=None, judge=kind, model=folder, **options)
    return load_judge(options, torch.device("cpu"))


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    return tiny_models.make_blip(tmp_path_factory.mktemp("blip"))


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def vlm(request, tmp_path_factory):
    return tiny_models.make_qwen(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return tiny_models.make_clip(tmp_path_factory.mktemp("clip"))


def test_blip_vqa_is_the_ratio_of_yes_and_no_after_enc_at_480_pixels(blip):
    answers = judge_of("blip-vqa", blip).answer(PICTURES, QUESTIONS)
    model = transformers.BlipForQuestionAnswering.from_pretrained(blip).eval()
    vocabulary = json.loads((blip / "tokenizer.json").read_text())["model"]["vocab"]
    plain = [
        "is there a red dog?",
        "is the blue cat on the left of the green house, and is there one dog in the picture?",
    ]
    plain.append("how many dogs?")
    for picture, question, text, (said, p_yes) in zip(PICTURES, QUESTIONS, plain, answers, strict=True):
        pixels = np.asarray(picture.resize((480, 480), Image.Resampling.BICUBIC), dtype=np.float32) / 255
        pixels = (pixels - [0.48145466, 0.4578275, 0.40821073]) / [0.26862954, 0.26130258, 0.27577711]
        words = text.replace("?", " ?").replace(",", " ,").replace("dogs", "dog ##s").split()
        ids = [len(vocabulary) + 1, *(vocabulary[word] for word in words), vocabulary["[SEP]"]]
        logits = model.generate(
            input_ids=torch.tensor([ids]),
            pixel_values=torch.from_numpy(pixels).float().permute(2, 0, 1)[None],
            interpolate_pos_encoding=True,
            max_new_tokens=1,
            output_logits=True,
            return_dict_in_generate=True,
        ).logits[0][0]
        shares = logits.softmax(-1)
        if question.kind == NUMBER:
            two = shares[[vocabulary["two"], vocabulary["2"]]].sum()
            expected = two / shares[[vocabulary[word] for word in ("one", "two", "three", "2", "3")]].sum()
        else:
            expected = shares[vocabulary["yes"]] / (shares[vocabulary["yes"]] + shares[vocabulary["no"]])
        assert p_yes == pytest.approx(expected.item(), abs=1e-5)
        assert said == next(word for word, number in vocabulary.items() if number == logits.argmax())


def test_blip_vqa_gives_what_the_code_of_t2i_compbench_gives():
    """Golden numbers of BLIPvqa_eval (its blip_vqa.py, med.py and vit.py, one question at a time) on these weights."""
    folder = REPO / "tests/data/blip_vqa"
    golden = json.loads((folder / "expected.json").read_text())
    pictures = [noise(seed, line["picture"]) for seed, line in enumerate(golden)]
    questions = [Question(1, line["question"]) for line in golden]
    answers = judge_of("blip-vqa", folder).answer(pictures, questions)
    assert [p_yes for _, p_yes in answers] == pytest.approx([line["p_yes"] for line in golden], abs=1e-5)


def test_blip_vqa_says_what_it_is(blip):
    identity = judge_of("blip-vqa", blip).identity
    size = len(json.loads((blip / "tokenizer.json").read_text())["model"]["vocab"])
    assert identity.token_ids["[ENC]"] == size + 1 and identity.token_ids["[DEC]"] == size
    assert identity.settings["pixels"] == 480 and identity.libraries["torch"] == torch.__version__.split("+")[0]


def test_a_vlm_sees_the_picture_first_and_is_asked_for_one_word(vlm):
    answers = judge_of("vlm", vlm).answer(PICTURES, QUESTIONS)
    model = transformers.AutoModelForImageTextToText.from_pretrained(vlm).eval()
    processor = transformers.AutoProcessor.from_pretrained(vlm)
    words = {"yes": ("yes", "Yes", " yes", " Yes"), "no": ("no", "No", " no", " No")}
    words["two"] = ("two", "Two", " two", " Two", "2", " 2")

    def mass(shares, spellings):
        ids = [processor.tokenizer.encode(spelling) for spelling in spellings]
        return sum(shares[number].item() for number in {one[0] for one in ids if len(one) == 1})

    for picture, question, (_, p_yes) in zip(PICTURES, QUESTIONS, answers, strict=True):
        text = (
            "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>"
            f"{question.text} Answer in one word.<|im_end|>\n<|im_start|>assistant\n"
        )
        inputs = processor(text=[text], images=[picture], return_tensors="pt")
        shares = model(**inputs).logits[0, -1].softmax(-1)
        if question.kind == NUMBER:
            numbers = "zero one two three four five six seven eight nine ten".split()
            spellings = [
                space + one for number, word in enumerate(numbers) for one in (word, word.capitalize(), str(number))
                for space in ("", " ")
            ]  # fmt: skip
            expected = mass(shares, words["two"]) / mass(shares, spellings)
        else:
            expected = mass(shares, words["yes"]) / (mass(shares, words["yes"]) + mass(shares, words["no"]))
        assert p_yes == pytest.approx(expected, abs=1e-5)


def test_another_template_is_another_judge(vlm):
    usual = judge_of("vlm", vlm)
    other = judge_of("vlm", vlm, template="{question} Yes or no?")
    assert usual.identity != other.identity and other.identity.template == "{question} Yes or no?"
    ((_, before),) = usual.answer(PICTURES[:1], QUESTIONS[:1])
    ((_, after),) = other.answer(PICTURES[:1], QUESTIONS[:1])
    assert abs(before - after) > 1e-4


@pytest.mark.parametrize("kind", ["blip-vqa", "vlm"])
def test_an_answer_does_not_depend_on_its_neighbours(kind, blip, vlm):
    judge = judge_of(kind, blip if kind == "blip-vqa" else vlm)
    together = judge.answer(PICTURES, QUESTIONS)
    alone = [judge.answer([picture], [question])[0] for picture, question in zip(PICTURES, QUESTIONS, strict=True)]
    assert [p for _, p in together] == pytest.approx([p for _, p in alone], abs=1e-5)


@pytest.mark.parametrize("kind", ["blip-vqa", "vlm"])
def test_bfloat16_is_used_where_it_is_asked_for(kind, blip, vlm):
    judge = judge_of(kind, blip if kind == "blip-vqa" else vlm, dtype="bfloat16")
    assert judge.model.dtype == torch.bfloat16 and judge.identity.settings["dtype"] == "bfloat16"
    exact = judge_of(kind, blip if kind == "blip-vqa" else vlm, dtype="float32").answer(PICTURES, QUESTIONS)
    found = judge.answer(PICTURES, QUESTIONS)
    # eight bits of mantissa in logits of about 30 leave 0.1 of them open
    assert [p for _, p in found] == pytest.approx([p for _, p in exact], abs=0.2) and found != exact


def test_clip_is_the_unscaled_cosine(clip):
    questions = [Question(1, "a red dog", kind=MATCH), Question(2, "a blue house " * 30, kind=MATCH)]
    judge = judge_of("clip", clip)
    answers = judge.answer(PICTURES[:2], questions)
    model = transformers.CLIPModel.from_pretrained(clip).eval()
    processor = transformers.AutoProcessor.from_pretrained(clip)
    for picture, question, (said, cosine) in zip(PICTURES, questions, answers):
        inputs = processor(images=picture, text=question.text, truncation=True, max_length=40, return_tensors="pt")
        output = model(**inputs)
        expected = output.logits_per_image.item() / math.exp(model.logit_scale.item())
        assert cosine == pytest.approx(expected, abs=1e-5) and said == f"{cosine:.4f}"


@pytest.mark.parametrize("kind", ["fixed", "told"])
def test_a_detector_finds_what_the_model_finds(kind, tmp_path, clip):
    if kind == "fixed":
        folder = tiny_models.make_detector(tmp_path / "yolos", ["dog", "sofa"])
    else:
        folder = tiny_models.make_owl(tmp_path / "owl")
    judge = judge_of("detector", folder, color_model=clip)
    found = judge.detections(PICTURES[0], ["couch", "dog"])
    processor = transformers.AutoProcessor if kind == "told" else transformers.AutoImageProcessor
    processor = processor.from_pretrained(folder)
    if kind == "told":
        model = transformers.Owlv2ForObjectDetection.from_pretrained(folder).eval()
        output = model(
            **processor(text=["a photo of a couch", "a photo of a dog"], images=PICTURES[0], return_tensors="pt")
        )
        confidences, labels = output.logits[0].sigmoid().max(-1)
        longest = max(PICTURES[0].size)
        scale = torch.tensor([longest, longest, longest, longest])
    else:
        model = transformers.YolosForObjectDetection.from_pretrained(folder).eval()
        output = model(**processor(images=PICTURES[0], return_tensors="pt"))
        confidences, labels = output.logits[0].softmax(-1)[:, :-1].max(-1)
        labels = 1 - labels  # 0 is dog, 1 is sofa, sorted they are couch, dog
        scale = torch.tensor([*PICTURES[0].size] * 2)
    across, down, width, height = output.pred_boxes[0].unbind(-1)
    boxes = torch.stack([across - width / 2, down - height / 2, across + width / 2, down + height / 2], -1) * scale
    expected = [
        (("couch", "dog")[label], pytest.approx(confidence, abs=1e-5), pytest.approx(box, abs=1e-2))
        for label, confidence, box in zip(labels.tolist(), confidences.tolist(), boxes.tolist())
        if confidence > 0.05
    ]
    expected.sort(key=lambda one: -one[1].expected)
    assert expected and [(one.label, one.confidence, one.box) for one in found] == expected
    spatial = Question(1, "", kind=SPATIAL, details={"objects": ["couch", "dog"], "relation": "on the left of"})
    wanted = Question(
        2, "", kind=OBJECTS, details={"tag": "single_object", "exclude": [], "include": [{"class": "dog", "count": 99}]}
    )
    (place, score), (said, met) = judge.answer(PICTURES[:2], [spatial, wanted])
    assert "dog" in place and 0 <= score <= 1 and (said[:20], met) == ("no: expected dog>=99", 0.0)
    assert judge.color_of(PICTURES[0], found[0]) in (
        "red orange yellow green blue purple pink brown black white".split()
    )


def test_a_detector_says_what_it_does_not_know(tmp_path):
    judge = judge_of("detector", tiny_models.make_detector(tmp_path / "yolos", ["dog"]))
    demand = {"tag": "single_object", "exclude": [], "include": [{"class": "pig", "count": 1}]}
    with pytest.raises(EvaluationError, match="knows no 'pig'"):
        judge.answer(PICTURES[:1], [Question(1, "", kind=OBJECTS, details=demand)])


def test_words_and_numbers_are_answers_in_every_spelling():
    yes, number = QUESTIONS[0], QUESTIONS[2]
    assert [word_of(text) for text in ("Yes.", " no", "3", "THREE", "purple")] == [
        "yes",
        "no",
        "three",
        "three",
        "purple",
    ]
    assert (
        is_answer(" Yes.", yes) and not is_answer("purple", yes) and not is_answer("", yes) and is_answer("2", number)
    )


def test_an_expected_word_without_a_token_is_refused():
    words = AnswerWords(tiny_models.word_piece_tokenizer())
    question = Question(1, "How many?", kind=NUMBER, expected="nineteen")
    with pytest.raises(EvaluationError, match="'nineteen'"):
        words.probability(torch.zeros(200), question)


def test_the_fingerprint_tells_weights_apart(tmp_path):
    one = tiny_models.make_clip(tmp_path / "one")
    other = tiny_models.make_clip(tmp_path / "other", seed=1)
    assert fingerprint(one) == fingerprint(one) != fingerprint(other)


def test_wrong_models_and_options_are_refused_in_a_sentence(tmp_path, blip, clip):
    (tmp_path / "empty").mkdir()
    for kind, folder, options, sentence in [
        ("blip-vqa", tmp_path / "empty", {}, "holds no readable config.json"),
        ("blip-vqa", clip, {}, "a model of type clip, not blip"),
        ("vlm", clip, {}, "chat template"),
        ("blip-vqa", None, {}, "give --model"),
        ("blip-vqa", blip, {"template": "{question}"}, "--template has no meaning"),
        ("clip", clip, {"color_model": clip}, "--color-model has no meaning"),
    ]:
        with pytest.raises(EvaluationError, match=sentence):
            judge_of(kind, folder, **options)


def test_a_model_that_lacks_weights_is_refused(blip, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "blip"
    folder.mkdir()
    for path in blip.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = load_file(folder / "model.safetensors")
    del weights["text_decoder.bert.encoder.layer.0.attention.self.query.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EvaluationError, match="lacks 1 weights"):
        judge_of("blip-vqa", folder)
    (folder / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(EvaluationError, match="can't be loaded"):
        judge_of("blip-vqa", folder)


def test_mplug_asks_for_modelscope():
    try:
        import modelscope  # noqa: F401
    except ImportError:
        with pytest.raises(EvaluationError, match="mplug needs modelscope"):
            judge_of("mplug", None)
    assert set(JUDGES) == {"blip-vqa", "vlm", "mplug", "clip", "detector"}
