"""The node types of the earlier ELLA packs.

"official" is TencentQQGYLab/ComfyUI-ELLA, "one sigma" is ExponentialML/ComfyUI_ELLA, whose connector is asked for a
single sigma, and "diffusers" is kijai/ComfyUI-ELLA-wrapper, which samples by itself.
"""

# Official.
CONNECTOR_LOADER = "ELLALoader"
ENCODER_LOADER = "T5TextEncoderLoader #ELLA"
T5_ENCODE = "T5TextEncode #ELLA"
TEXT_ENCODE = "EllaTextEncode"
ENCODE = "EllaEncode"
SCHEDULE = "SetEllaTimesteps"
APPLIES = ("EllaApply", "EllaAdvancedApply")
CLIP_TO_EMBEDS = "ConditionToEllaEmbeds"
COMBINE_EMBEDS = "EllaCombineEmbeds"
CLIP_AND_EMBEDS = ("CombineClipEllaEmbeds", "ConcatConditionEllaEmbeds")
# One sigma.
PAIR_LOADER = "LoadElla"
SIGMA_ENCODE = "ELLATextEncode"

# Widgets in the order in which the editor saves their values.
OLD_WIDGETS = {
    CONNECTOR_LOADER: ("name",),
    ENCODER_LOADER: ("name", "max_length", "dtype"),
    T5_ENCODE: ("text",),
    TEXT_ENCODE: ("text", "text_clip"),
    SCHEDULE: ("scheduler", "steps", "denoise"),
    "EllaAdvancedApply": ("mode", "start_at", "end_at"),
    PAIR_LOADER: ("ella_model", "t5_model"),
    SIGMA_ENCODE: ("text", "sigma"),
}
# The titles that they have until a person writes another one.
OLD_TITLES = {
    CONNECTOR_LOADER: "Load ELLA Model",
    ENCODER_LOADER: "Load T5 TextEncoder #ELLA",
    T5_ENCODE: "T5 Text Encode #ELLA",
    TEXT_ENCODE: "ELLA Text Encode",
    PAIR_LOADER: "Load ELLA Model",
    SIGMA_ENCODE: "ELLA Text Encode (Prompt)",
}
# What told the connector a schedule: inputs that have no counterpart any more.
SCHEDULE_INPUTS = {
    SCHEDULE: ("model", "scheduler", "steps", "denoise", "sigmas"),
    "EllaApply": ("sigmas",),
    "EllaAdvancedApply": ("sigmas",),
    SIGMA_ENCODE: ("sigma",),
}
DROPPED_NODES = (SCHEDULE, ENCODE, *APPLIES, CLIP_TO_EMBEDS, COMBINE_EMBEDS, *CLIP_AND_EMBEDS)
OLD_NODES = (CONNECTOR_LOADER, ENCODER_LOADER, T5_ENCODE, TEXT_ENCODE, PAIR_LOADER, SIGMA_ENCODE, *DROPPED_NODES)
OUTPUTS = dict.fromkeys(OLD_NODES, 1) | dict.fromkeys(APPLIES, 3) | {TEXT_ENCODE: 2}
# Their one output is of a type of the old packs' own, which nothing else reads.
OWN_TYPES = (
    CONNECTOR_LOADER,
    ENCODER_LOADER,
    T5_ENCODE,
    SCHEDULE,
    CLIP_TO_EMBEDS,
    COMBINE_EMBEDS,
    *CLIP_AND_EMBEDS,
    PAIR_LOADER,
)
DIFFUSERS_NODES = ("ella_model_loader", "ella_sampler", "ella_t5_embeds", "diffusers_model_loader", "diffusers_sampler")
# Virtual nodes of rgthree's pack that switch whatever is wired to them on and off, and read nothing of it.
SWITCHES = (
    "Mute / Bypass Repeater (rgthree)",
    "Mute / Bypass Relay (rgthree)",
    "Node Collector (rgthree)",
    "Fast Muter (rgthree)",
    "Fast Bypasser (rgthree)",
    "Fast Actions Button (rgthree)",
    "Random Unmuter (rgthree)",
)
# They would blend or scale tokens, which change at every step here; Apply ELLA refuses that when the graph runs.
BLENDS = ("ConditioningAverage", "ConditioningMultiply")
