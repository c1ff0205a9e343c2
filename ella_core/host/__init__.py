"""The only code outside nodes/ that knows ComfyUI: model folders, models, conditioning and the sampler patch."""
