"""NegPip (pamparamm's ComfyUI-ppm): its model reads a context in pairs, every other token as key and as value."""

OPTION = "ppm_negpip"


def reads_in_pairs(model_options):
    """Whether NegPip is on the model with these options."""
    return bool(model_options.get(OPTION))
