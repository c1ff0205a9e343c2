"""Random models of the judges' true architectures, small enough for a test, with tokenizers of a few words."""

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

WORDS = (
    "yes no is there a on and in red blue green dog cat house left right of the how many two three 2 3 picture one "
    "image , ? '"
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def word_piece_tokenizer():
    """BERT's kind of tokenizer over WORDS and single letters."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(WORDS.split())]
    pieces += [mark + letter for letter in "abcdefghijklmnopqrstuvwxyz" for mark in ("", "##")]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def byte_pair_tokenizer(special, texts):
    """GPT's kind of tokenizer, trained on texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def make_blip(folder, seed=0):
    """BLIP for question answering with 64 px positions and patches of 16."""
    torch.manual_seed(seed)
    tokenizer = word_piece_tokenizer()
    size = len(tokenizer)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {
        "vocab_size": size + 2,
        "encoder_hidden_size": 32,
        "bos_token_id": size,
        "pad_token_id": 0,
        "sep_token_id": 3,
    }
    config = transformers.BlipConfig(
        text_config={**sizes, **text, "max_position_embeddings": 64, "initializer_range": 0.5},
        vision_config={**sizes, "image_size": 64, "patch_size": 16, "initializer_range": 0.5},
        initializer_range=0.5,
    )
    model = transformers.BlipForQuestionAnswering(config)
    yes_and_no = tokenizer.convert_tokens_to_ids(["yes", "no"])
    model.text_decoder.cls.predictions.bias.data[yes_and_no] += 30  # so that it says one of them
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_qwen(folder, kind, seed=0):
    """Qwen2.5-VL or Qwen3-VL, `kind` as in config.json, with the real processor."""
    torch.manual_seed(seed)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
    special += ["<|image_pad|>", "<|video_pad|>"]
    texts = ["yes Yes no No two Two three Three", "yes yes no no Yes Yes No No 2 3"] * 20 + [WORDS]
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=byte_pair_tokenizer(special, texts), pad_token="<|endoftext|>", eos_token="<|im_end|>"
    )
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("image_pad", "video_pad", "vision_start")}
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.3, "head_dim": 8,
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
        "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id,
    }  # fmt: skip
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32}
    if kind == "qwen3_vl":
        vision |= {"patch_size": 16, "deepstack_visual_indexes": [0], "num_position_embeddings": 64}
        names = ("Qwen3VLConfig", "Qwen3VLForConditionalGeneration", "Qwen3VLProcessor", "Qwen3VLVideoProcessor")
    else:
        vision |= {"patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1]}
        names = (
            "Qwen2_5_VLConfig",
            "Qwen2_5_VLForConditionalGeneration",
            "Qwen2_5_VLProcessor",
            "Qwen2VLVideoProcessor",
        )
    config_class, model_class, processor_class, video_class = (getattr(transformers, name) for name in names)
    config = config_class(
        text_config=text, vision_config=vision, image_token_id=ids["image_pad"], video_token_id=ids["video_pad"],
        vision_start_token_id=ids["vision_start"], pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model_class(config).save_pretrained(folder)
    patch = vision["patch_size"]
    pictures = transformers.Qwen2VLImageProcessor(
        patch_size=patch, min_pixels=(2 * patch) ** 2, max_pixels=(4 * patch) ** 2
    )
    processor_class(pictures, tokenizer, video_class(patch_size=patch), chat_template=CHAT_TEMPLATE).save_pretrained(
        folder
    )
    return folder


def make_clip(folder, seed=0):
    """CLIP with 32 px pictures and 40 tokens."""
    torch.manual_seed(seed)
    backend = byte_pair_tokenizer(["<|endoftext|>", "<|startoftext|>"], [WORDS] * 5)
    ends = [("<|startoftext|>", 1), ("<|endoftext|>", 0)]
    backend.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=ends
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<|endoftext|>", bos_token="<|startoftext|>", eos_token="<|endoftext|>"
    )
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 40, "bos_token_id": 1, "eos_token_id": 0}
    config = transformers.CLIPConfig(
        text_config={**sizes, **text}, vision_config={**sizes, "image_size": 32, "patch_size": 8}, projection_dim=16
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    square = {"height": 32, "width": 32}
    pictures = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=square)
    transformers.CLIPProcessor(pictures, tokenizer).save_pretrained(folder)
    return folder


def make_detector(folder, labels, seed=0):
    """YOLOS, a detector with a fixed list of names."""
    torch.manual_seed(seed)
    config = transformers.YolosConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=[64, 64],
        patch_size=16, num_detection_tokens=10, id2label=dict(enumerate(labels)), num_labels=len(labels),
        initializer_range=0.5,
    )  # fmt: skip
    model = transformers.YolosForObjectDetection(config)
    torch.nn.init.normal_(model.class_labels_classifier.layers[-1].weight, std=3)  # so that it is sure of something
    model.save_pretrained(folder)
    size = {"shortest_edge": 64, "longest_edge": 64}
    transformers.YolosImageProcessor(size=size).save_pretrained(folder)
    return folder


def make_owl(folder, seed=0):
    """OWLv2, which is told what to look for."""
    torch.manual_seed(seed)
    backend = byte_pair_tokenizer(["<|endoftext|>", "<|startoftext|>"], [WORDS] * 5)
    ends = [("<|startoftext|>", 1), ("<|endoftext|>", 0)]
    backend.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=ends
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<|endoftext|>", model_max_length=40, bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
    )  # fmt: skip
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 40, "bos_token_id": 1, "eos_token_id": 0}
    config = transformers.Owlv2Config(
        text_config={**sizes, **text}, vision_config={**sizes, "image_size": 64, "patch_size": 16}, projection_dim=32
    )
    model = transformers.Owlv2ForObjectDetection(config)
    for layer in (model.class_head.logit_scale, model.class_head.logit_shift):
        torch.nn.init.normal_(layer.weight, std=0.01)  # so that no two confidences are both almost 1
    model.save_pretrained(folder)
    pictures = transformers.Owlv2ImageProcessor(size={"height": 64, "width": 64})
    transformers.Owlv2Processor(pictures, tokenizer).save_pretrained(folder)
    return folder
