"""Nodes of ComfyUI's own whose widgets are read: names in the order in which the editor saves their values."""

SAMPLER = "KSampler"
ADVANCED_SAMPLER = "KSamplerAdvanced"
CUSTOM_SAMPLER = "SamplerCustom"
SCHEDULER = "BasicScheduler"

WIDGETS = {
    SAMPLER: ("seed", "control_after_generate", "steps", "cfg", "sampler_name", "scheduler", "denoise"),
    ADVANCED_SAMPLER: (
        "add_noise",
        "noise_seed",
        "control_after_generate",
        "steps",
        "cfg",
        "sampler_name",
        "scheduler",
        "start_at_step",
        "end_at_step",
        "return_with_leftover_noise",
    ),
    SCHEDULER: ("scheduler", "steps", "denoise"),
}
