"""A ModelPatcher whose weights are read when the host loads it, and not when somebody looks at it."""

import comfy.model_patcher


class WeightsOnDemand(comfy.model_patcher.ModelPatcher):
    """The patcher of a CLIP of ELLA: sizes and names of weights are known from the files' headers.

    The host loads and merges weights through the methods below; all else works without them.
    """

    def read_weights(self):
        """Reads the weights of the TextEncoder in the model, where that has not happened yet."""
        for module in list(self.model.modules()):
            if hasattr(module, "read_weights"):
                module.read_weights()

    def partially_load(self, *args, **kwargs):
        self.read_weights()
        return super().partially_load(*args, **kwargs)

    def patch_model(self, *args, **kwargs):
        self.read_weights()
        return super().patch_model(*args, **kwargs)

    def get_key_patches(self, *args, **kwargs):
        self.read_weights()
        return super().get_key_patches(*args, **kwargs)
