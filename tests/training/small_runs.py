"""Short trainings of the small parts, as the tests of runs need them."""

import dataclasses

import torch
from small_parts import RandomPictures, SmallBase, small_connector

from ella_core import load_connector
from training.loop import train
from training.options import PRESETS

SMALL = dataclasses.replace(
    PRESETS["smoke"], steps=6, batch_size=8, micro_batch_size=4, warmup_steps=2, save_every=2, tensorboard=False
)


def small(**changes):
    return dataclasses.replace(SMALL, **changes)


def run_small(out, options=SMALL, connector=None, data=None, base=None, **more):
    connector = small_connector() if connector is None else connector
    return train(options, base or SmallBase(), connector, data or RandomPictures(), out, progress=False, **more)


def weights(run, name="connector.safetensors"):
    return load_connector(run.path / name).state_dict()


def same(found, expected):
    return found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in found)
