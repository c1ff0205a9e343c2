"""What the files of a T5 encoder are: its sizes from tensors and config, and strictly read weights."""

from ..block_shapes import MOST_BLOCKS, BlockShapes, count_blocks
from ..errors import ELLAError, OtherModelError, file_name, quoted
from ..file_kind import kind_of
from ..finite import is_finite
from ..released import LANGUAGE_MODEL, REPOSITORY, TEXT_ENCODER_FOLDER
from .quantised_file import check_float8, is_factor, stored_weights

EMBEDDING, TIED_EMBEDDING = "shared.weight", "encoder.embed_tokens.weight"
BLOCKS = "encoder.block."
BIAS = BLOCKS + "{}.layer.0.SelfAttention.relative_attention_bias.weight"
ATTENTION = BLOCKS + "0.layer.0.SelfAttention."
FEED_FORWARD = BLOCKS + "0.layer.1.DenseReluDense."
QUERY = ATTENTION + "q.weight"
GATED, UNGATED = FEED_FORWARD + "wi_0.weight", FEED_FORWARD + "wi.weight"
EXPECTED = f"{LANGUAGE_MODEL}'s encoder is expected ({TEXT_ENCODER_FOLDER} from {REPOSITORY})"
FEWEST_BUCKETS = 4  # of the position bias: two for each direction, near and far
MAX_DISTANCE = 128  # of the position bias, where no config.json says otherwise
FARTHEST = 2**20  # such a distance that may be stated
LARGEST_EPSILON = 1e-3


def read_sizes_of(path, files, headers, config):
    """T5Config's arguments of the T5 encoder in these files, without reading a weight; `config` is its config.json.

    Raises ELLAError for files that are damaged or of other names or shapes, and OtherModelError for a model that is no
    T5 encoder.
    """
    name = file_name(path)
    shapes = {key: shape for header in headers for key, shape in header.shapes.items() if not is_factor(key)}
    check_kind(name, shapes)
    check_float8(name, headers)
    sizes = read_sizes(name, shapes)
    check_tensors(name, shapes, sizes)
    return sizes | read_config(name, config, sizes)


def check_kind(name, shapes):
    """Raises ELLAError unless the tensors' names are those of a T5 encoder."""
    if QUERY not in shapes or not {EMBEDDING, TIED_EMBEDDING} & shapes.keys():
        raise other_model(name, kind_of(shapes) or "not a T5 encoder")
    if BIAS.format(1) in shapes:
        raise other_model(name, "a UMT5 or Pile-T5 encoder (a position bias in every block)")


def other_model(name, kind):
    return OtherModelError(f"{name} is {kind}, where {EXPECTED}.", kind)


def read_sizes(name, shapes):
    """T5Config's arguments as far as the tensors tell them."""
    gated = GATED in shapes
    vocab_size, width = matrix(name, shapes, EMBEDDING if EMBEDDING in shapes else TIED_EMBEDDING)
    buckets, heads = matrix(name, shapes, BIAS.format(0))
    inner, _ = matrix(name, shapes, QUERY)
    hidden, _ = matrix(name, shapes, GATED if gated else UNGATED)
    depth = max(count_blocks(shapes, BLOCKS), 1)
    if buckets < FEWEST_BUCKETS or depth > MOST_BLOCKS:
        raise ELLAError(
            f"{name} has {depth} blocks and {buckets} buckets of positions, where at most {MOST_BLOCKS} blocks and at "
            f"least {FEWEST_BUCKETS} buckets are expected; {EXPECTED}."
        )
    return {
        "d_model": width,
        "d_ff": hidden,
        "d_kv": max(inner // heads, 1),
        "num_heads": heads,
        "num_layers": depth,
        "vocab_size": vocab_size,
        "relative_attention_num_buckets": buckets,
        "feed_forward_proj": "gated-gelu" if gated else "relu",
    }


def matrix(name, shapes, key):
    """The shape of the matrix `key`; ELLAError where the file has none, or an empty one, or more dimensions."""
    shape = shapes.get(key)
    if shape is None:
        raise ELLAError(f"{name} has no tensor {key}, which every T5 encoder has; download it again.")
    if len(shape) != 2 or 0 in shape:
        raise ELLAError(f"{name} has {key} of shape {quoted(shape)} where a matrix is expected; download it again.")
    return shape


def expected_shapes(sizes):
    """The tensors of a T5 encoder of these sizes, name -> shape; the tied embedding stands under one of its names."""
    width, hidden, heads = sizes["d_model"], sizes["d_ff"], sizes["num_heads"]
    inner = heads * sizes["d_kv"]
    first = {ATTENTION + f"{letter}.weight": (inner, width) for letter in "qkv"}
    first |= {
        ATTENTION + "o.weight": (width, inner),
        BLOCKS + "0.layer.0.layer_norm.weight": (width,),
        FEED_FORWARD + "wo.weight": (width, hidden),
        BLOCKS + "0.layer.1.layer_norm.weight": (width,),
    }
    gates = ("wi",) if sizes["feed_forward_proj"] == "relu" else ("wi_0", "wi_1")
    first |= {FEED_FORWARD + f"{gate}.weight": (hidden, width) for gate in gates}
    second = {BLOCKS + "1" + key[len(BLOCKS) + 1 :]: shape for key, shape in first.items()}
    others = {
        EMBEDDING: (sizes["vocab_size"], width),
        BIAS.format(0): (sizes["relative_attention_num_buckets"], heads),
        "encoder.final_layer_norm.weight": (width,),
    }
    return BlockShapes(others | first | second, BLOCKS, sizes["num_layers"])


def check_tensors(name, shapes, sizes):
    """Raises ELLAError unless the files have exactly an encoder's tensors; what is not the encoder's does not count."""
    found = dict(shapes)
    tied = found.pop(TIED_EMBEDDING, None)
    found.setdefault(EMBEDDING, tied)
    expected = expected_shapes(sizes)
    missing = [key for key in expected if key not in found]
    if missing:
        raise ELLAError(
            f"{name} lacks {len(missing)} of the encoder's {len(expected)} tensors (first: {missing[0]}); download it "
            "again."
        )
    extra = [key for key in found if key.startswith("encoder.") and key not in expected]
    if extra:
        raise ELLAError(
            f"{name} has {len(extra)} tensors more than such an encoder (first: {quoted(extra[0])}); download it again."
        )
    for key, shape in expected.items():
        given = {found[key], tied or found[key]} if key == EMBEDDING else {found[key]}
        if given != {shape}:
            raise ELLAError(
                f"{name} has {key} of shape {quoted((given - {shape}).pop())} where {shape} is expected; download it "
                "again."
            )


def read_config(name, config, sizes):
    """T5Config's arguments that only the config.json tells; ELLAError where it belongs to other weights or to no T5."""
    for key, found in sizes.items():
        stated = config.get(key, found)
        if stated != found or isinstance(stated, bool):
            raise ELLAError(
                f"{name} has a config.json with {key} {quoted(stated)} and weights with {found}, so they belong to "
                "different models; download the folder again."
            )
    epsilon = config.get("layer_norm_epsilon", 1e-6)
    if type(epsilon) is not float or not 0 < epsilon <= LARGEST_EPSILON:
        raise wrong_config(name, "layer_norm_epsilon", epsilon, f"a number above 0 and up to {LARGEST_EPSILON}")
    distance = config.get("relative_attention_max_distance", MAX_DISTANCE)
    # A bucket near the token stands for one distance; those beyond divide the rest among them.
    nearest = sizes["relative_attention_num_buckets"] // 4
    if type(distance) is not int or not nearest < distance <= FARTHEST:
        expected = f"a whole number from {nearest + 1} to {FARTHEST}"
        raise wrong_config(name, "relative_attention_max_distance", distance, expected)
    return {"layer_norm_epsilon": epsilon, "relative_attention_max_distance": distance}


def wrong_config(name, key, found, expected):
    return ELLAError(
        f"{name} has a config.json with {key} {quoted(found)}, where {expected} is expected; download it again."
    )


def read_weights(name, headers, sizes, dtype):
    """The encoder's weights in `dtype` by name, both names of the embedding included.

    Raises ELLAError for values that are not finite in it.
    """
    expected = expected_shapes(sizes)
    weights = {}
    for key, weight in stored_weights(headers, dtype, lambda key: key in expected or key == TIED_EMBEDDING):
        if not is_finite(weight):
            raise ELLAError(
                f"{name} holds values in {key} that are not finite in {str(dtype).removeprefix('torch.')}, so every "
                "picture would be black; download it again."
            )
        weights[key] = weight
    weights[EMBEDDING] = weights.get(EMBEDDING, weights.get(TIED_EMBEDDING))
    weights[TIED_EMBEDDING] = weights[EMBEDDING]
    return weights
