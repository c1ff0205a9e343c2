"""Tensors that follow the timestep, wherever another node keeps them.

The tensor of Apply ELLA's conditioning, and whatever is computed from it, remembers its recipe. Outside of a UNet
evaluation it is what any tensor is, with the tokens of a middle timestep. Met by a computation inside an evaluation, it
is made again from the tokens of that evaluation's timestep: so nodes are exact that keep a conditioning in the MODEL.
"""

import torch

from ..errors import ELLAError
from .evaluation import current_evaluation, sentence_outside
from .recipe import Operation, each, middle_values

# By these a network uses its context. What they give is the network's own and follows nothing. Keys and values may be
# computed before, so a linear layer alone does not tell of a network that is sampled without Apply ELLA.
NETWORK = frozenset("scaled_dot_product_attention baddbmm bmm einsum conv1d conv2d layer_norm group_norm".split())
# What they tell of a tensor is the same at every timestep, as are its attributes beside these.
VALUES = frozenset("T mT H mH real imag data".split())
SHAPE = frozenset(
    "size dim ndimension numel nelement stride __len__ is_floating_point get_device is_contiguous".split()
)

LOST = (
    "Another node changed ELLA's tokens after Apply ELLA in a way that can't be done again at every step, and they "
    "change at every step; wire such a node between ELLA Text Encode and Apply ELLA."
)


class FollowingTensor(torch.Tensor):
    """A tensor with a `recipe`.

    `moment` is the number of the evaluation whose values it holds, None for those of the middle timestep. `checked` is
    the number of the run in which its values were last compared with its recipe.
    """

    def __new__(cls, values, recipe, moment=None):
        tensor = values.as_subclass(cls)
        tensor.recipe = recipe
        tensor.moment = moment
        tensor.checked = None
        return tensor

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return call(func, args, kwargs or {})

    def __iter__(self):
        return iter(self.unbind(0))

    def __copy__(self):
        return FollowingTensor(plain(self), self.recipe, self.moment)

    def __deepcopy__(self, memo):
        copy = memo[id(self)] = FollowingTensor(plain(self).clone(), self.recipe, self.moment)
        return copy

    def __reduce_ex__(self, protocol):
        return plain(self).__reduce_ex__(protocol)  # a file holds an ordinary tensor


def plain(value):
    """A tensor's own values without its recipe; anything else as it is."""
    if not isinstance(value, FollowingTensor):
        return value
    with torch._C.DisableTorchFunctionSubclass():
        return value.as_subclass(torch.Tensor)


@torch.compiler.disable
def call(func, args, kwargs):
    """Calls a function of torch with following tensors among its arguments; a compiled model does so by its graphs."""
    name = getattr(func, "__name__", "")
    if name in SHAPE or (name == "__get__" and func.__self__.__name__ not in VALUES):
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)
    evaluation = current_evaluation()
    in_place = works_in_place(name)
    if in_place:
        check_change(args[0], evaluation)
    elif "out" in kwargs:
        check_change(plain(kwargs["out"]), evaluation)
    elif name in NETWORK and evaluation is None:
        raise ELLAError(sentence_outside())
    recipes = each((args, kwargs), lambda item: item.recipe if isinstance(item, FollowingTensor) else item)
    args_now, kwargs_now = each((args, kwargs), lambda item: values_in(evaluation, item))
    result = func(*args_now, **kwargs_now)
    if name in NETWORK or (name == "linear" and evaluation) or name.startswith("rand"):
        return result
    if in_place:
        if isinstance(args[0], FollowingTensor):
            args[0].recipe = Operation(func, *recipes, in_place=True)
        return args[0] if isinstance(result, torch.Tensor) else result
    return following(result, Operation(func, *recipes), moment_of(evaluation))


def following(result, recipe, moment):
    """What an operation gave, with its tensors as following ones."""
    if isinstance(result, torch.Tensor):
        return FollowingTensor(result, recipe, moment)
    if isinstance(result, (list, tuple)) and not isinstance(result, torch.Size):
        return type(result)(
            following(item, Operation(pick, (recipe, index), {}), moment) for index, item in enumerate(result)
        )
    return result


def pick(items, index):
    return items[index]


def works_in_place(name):
    """Whether torch's function of this name changes its first argument."""
    if name.startswith("__"):
        return name in ("__setitem__", "__set__") or (
            name.startswith("__i") and name not in ("__invert__", "__index__", "__int__")
        )
    return name.endswith("_")


def check_change(tensor, evaluation):
    """Raises ELLAError where a change in place of a tensor could not be followed."""
    if isinstance(tensor, FollowingTensor):
        if tensor.moment != moment_of(evaluation):
            raise ELLAError(LOST)
    elif evaluation is None:
        raise ELLAError(LOST)


def moment_of(evaluation):
    return None if evaluation is None else evaluation.number


def values_in(evaluation, value):
    """A following tensor's values in an evaluation, or outside of one where it is None; anything else as it is."""
    if not isinstance(value, FollowingTensor):
        return value
    if value.moment == moment_of(evaluation):
        return plain(value)
    if evaluation is None:
        return middle_values(value.recipe)
    check(value, evaluation.run)
    return evaluation.held(value.recipe)


def check(tensor, run):
    """Raises ELLAError unless a tensor's recipe gives the values that it holds; looks once for each run."""
    if tensor.moment is None and tensor.checked != run.number:
        with torch.random.fork_rng(devices=[]):
            torch.rand(1)  # so that what was drawn at random does not come again
            values = middle_values(tensor.recipe)
        if not torch.equal(values, plain(tensor)):
            raise ELLAError(LOST)
        tensor.checked = run.number
