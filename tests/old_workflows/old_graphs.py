"""Graphs of the earlier ELLA packs in their own node names, one for each documented way to wire them.

GRAPHS has them in API format, node by node; `as_ui` gives the same graph as the editor saves it. Used by the tests of
the converter with and without a host.
"""

from node_types import NODE_TYPES

PROMPT = "a red fox in a green coat reads a newspaper beside a blue teapot"
STEPS = {"scheduler": "normal", "steps": 2, "denoise": 1.0}


def node(kind, **inputs):
    """A node in API format; a wire is written as "number:slot"."""
    wired = [name_and_type.split(":")[0] for name_and_type in NODE_TYPES[kind][0].split()]
    for name, value in inputs.items():
        if name in wired or (name == "sigma" and isinstance(value, str)):
            number, slot = value.split(":")
            inputs[name] = [number, int(slot)]
    return {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}


def sampler(model, positive, negative, latent="8:0"):
    settings = {"seed": 1000, "steps": 2, "cfg": 8.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    return node("KSampler", model=model, positive=positive, negative=negative, latent_image=latent, **settings)


def picture(samples="7:0"):
    return {
        "8": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "9": node("VAEDecode", samples=samples, vae="1:2"),
        "10": node("SaveImage", images="9:0", filename_prefix="old"),
    }


def official(**nodes):
    """The nodes that all graphs of the official pack share: loaders 1, 2 and 3, the picture 8, 9 and 10."""
    loaders = {
        "1": node("CheckpointLoaderSimple", ckpt_name="tiny.safetensors"),
        "2": node("ELLALoader", name="tiny.safetensors"),
        "3": node("T5TextEncoderLoader #ELLA", name="tiny-t5", max_length=0, dtype="auto"),
    }
    return loaders | {name.removeprefix("n"): fields for name, fields in nodes.items()} | picture()


def t5(text):
    return node("T5TextEncode #ELLA", text=text, text_encoder="3:0")


def timesteps(model="1:0", **more):
    return node("SetEllaTimesteps", model=model, ella="2:0", **STEPS, **more)


LORA = node(
    "LoraLoader", model="1:0", clip="1:1", lora_name="tiny-lora.safetensors", strength_model=1.0, strength_clip=1.0
)
APPLY = {"model": "1:0", "ella": "2:0", "positive": "4:0", "negative": "5:0"}
CONTROLNET = {"control_net": "14:0", "image": "15:0", "strength": 1.0, "start_percent": 0.0, "end_percent": 1.0}
TEXT_ENCODE = {"ella": "12:0", "text_encoder": "3:0"}

GRAPHS = {
    "apply_with_sigmas": official(
        n4=t5(PROMPT),
        n5=t5("blurry"),
        n6=node("EllaApply", **APPLY, sigmas="11:0"),
        n7=sampler("6:0", "6:1", "6:2"),
        n11=node("BasicScheduler", model="1:0", **STEPS),
    ),
    "apply_with_timesteps": official(
        n4=t5(PROMPT),
        n5=t5("blurry"),
        n6=node("EllaApply", **(APPLY | {"ella": "12:0"})),
        n7=sampler("6:0", "6:1", "6:2"),
        n12=timesteps(),
    ),
    "apply_without_schedule": official(
        n4=t5(PROMPT), n5=t5("blurry"), n6=node("EllaApply", **APPLY), n7=sampler("6:0", "6:1", "6:2")
    ),
    "encode": official(
        n4=t5(PROMPT),
        n5=t5("blurry"),
        n12=timesteps(),
        n13=node("EllaEncode", ella="12:0", embeds="4:0"),
        n14=node("EllaEncode", ella="12:0", embeds="5:0"),
        n7=sampler("1:0", "13:0", "14:0"),
    ),
    "text_encode_with_sigmas": official(
        n11=node("BasicScheduler", model="1:0", **STEPS),
        n12=timesteps(sigmas="11:0"),
        n13=node("EllaTextEncode", **TEXT_ENCODE, text=PROMPT, text_clip=""),
        n14=node("EllaTextEncode", **TEXT_ENCODE, text="blurry", text_clip=""),
        n7=sampler("1:0", "13:0", "14:0"),
    ),
    "text_encode_with_clip_and_lora": official(
        n15=LORA,
        n12=timesteps("15:0"),
        n13=node("EllaTextEncode", **TEXT_ENCODE, clip="15:1", text=PROMPT, text_clip="chibi"),
        n14=node("EllaTextEncode", **TEXT_ENCODE, clip="15:1", text="", text_clip="(low quality:1.3)"),
        n7=sampler("15:0", "13:0", "14:0"),
    ),
    "positive_only": official(
        n15=LORA,
        n12=timesteps("15:0"),
        n13=node("EllaTextEncode", **TEXT_ENCODE, clip="15:1", text=PROMPT, text_clip="chibi"),
        n14=node("CLIPTextEncode", clip="1:1", text="(low quality:1.3)"),
        n7=sampler("15:0", "13:0", "14:0"),
    ),
    "clip_by_concat_with_lora": official(
        n15=LORA,
        n12=timesteps("15:0"),
        n4=t5(PROMPT),
        n5=t5(""),
        n13=node("EllaEncode", ella="12:0", embeds="4:0"),
        n14=node("EllaEncode", ella="12:0", embeds="5:0"),
        n16=node("CLIPTextEncode", clip="15:1", text="(full body:1.2), chibi"),
        n17=node("CLIPTextEncode", clip="15:1", text="(low quality:1.3)"),
        n18=node("ConditioningConcat", conditioning_to="13:0", conditioning_from="16:0"),
        n19=node("ConditioningConcat", conditioning_to="14:0", conditioning_from="17:0"),
        n7=sampler("15:0", "18:0", "19:0"),
    ),
    "controlnet": official(
        n4=t5(PROMPT),
        n5=t5("blurry"),
        n12=timesteps(),
        n6=node("EllaApply", **(APPLY | {"ella": "12:0"})),
        n13=node("ControlNetApply", conditioning="6:1", control_net="14:0", image="15:0", strength=1.0),
        n14=node("ControlNetLoader", control_net_name="tiny-controlnet.safetensors"),
        n15=node("EmptyImage", width=64, height=64, batch_size=1, color=8421504),
        n7=sampler("6:0", "13:0", "6:2"),
    ),
    "controlnet_pair": official(
        n4=t5(PROMPT),
        n5=t5("blurry"),
        n12=timesteps(),
        n6=node("EllaEncode", ella="12:0", embeds="4:0"),
        n11=node("EllaEncode", ella="12:0", embeds="5:0"),
        n13=node("ControlNetApplyAdvanced", positive="6:0", negative="11:0", **CONTROLNET),
        n16=node("ControlNetApplyAdvanced", positive="13:0", negative="13:1", **CONTROLNET),
        n14=node("ControlNetLoader", control_net_name="tiny-controlnet.safetensors"),
        n15=node("EmptyImage", width=64, height=64, batch_size=1, color=8421504),
        n7=sampler("1:0", "16:0", "16:1"),
    ),
    "align_your_steps": official(
        n11=node("AlignYourStepsScheduler", model_type="SD1", steps=2, denoise=1.0),
        n12=timesteps(sigmas="11:0"),
        n13=node("EllaTextEncode", **TEXT_ENCODE, clip="1:1", text=PROMPT, text_clip="chibi"),
        n14=node("EllaTextEncode", **TEXT_ENCODE, clip="1:1", text="", text_clip="low quality"),
        n16=node("KSamplerSelect", sampler_name="euler"),
        n7=node(
            "SamplerCustom",
            model="1:0",
            positive="13:0",
            negative="14:0",
            sampler="16:0",
            sigmas="11:0",
            latent_image="8:0",
            add_noise=True,
            noise_seed=1001,
            cfg=8.0,
        ),
    ),
    "clip_and_ella": official(
        n4=t5(PROMPT),
        n5=t5("blurry"),
        n13=node("CLIPTextEncode", clip="1:1", text="chibi"),
        n14=node("CLIPTextEncode", clip="1:1", text="low quality"),
        n15=node("CombineClipEllaEmbeds", cond="13:0", embeds="4:0"),
        n16=node("ConcatConditionEllaEmbeds", cond="14:0", embeds="5:0"),
        n6=node("EllaAdvancedApply", **(APPLY | {"positive": "15:0", "negative": "16:0"}), mode="ELLA + CLIP"),
        n7=sampler("6:0", "6:1", "6:2"),
    ),
    "embeds_helpers": official(
        n13=node("CLIPTextEncode", clip="1:1", text="chibi"),
        n14=node("ConditionToEllaEmbeds", cond="13:0"),
        n4=node("T5TextEncode #ELLA", text=PROMPT, text_encoder="3:0", embeds="14:0"),
        n5=t5("blurry"),
        n15=node("EllaCombineEmbeds", embeds="5:0", embeds_add="14:0"),
        n6=node("EllaApply", **(APPLY | {"negative": "15:0"})),
        n7=sampler("6:0", "6:1", "6:2"),
    ),
    "clip_ignored_with_sigmas": official(
        n4=t5(PROMPT),
        n5=t5("blurry"),
        n13=node("CLIPTextEncode", clip="1:1", text="chibi"),
        n15=node("CombineClipEllaEmbeds", cond="13:0", embeds="4:0"),
        n16=node("CombineClipEllaEmbeds", cond="13:0", embeds="5:0"),
        n11=node("BasicScheduler", model="1:0", **STEPS),
        n6=node("EllaApply", **(APPLY | {"positive": "15:0", "negative": "16:0"}), sigmas="11:0"),
        n7=sampler("6:0", "6:1", "6:2"),
    ),
    "two_samplers_and_a_lora_for_the_second": official(
        n4=t5(PROMPT),
        n5=t5("blurry"),
        n12=timesteps(),
        n13=node("EllaEncode", ella="12:0", embeds="4:0"),
        n14=node("EllaEncode", ella="12:0", embeds="5:0"),
        n15=LORA,
        n16=sampler("1:0", "13:0", "14:0"),
        n7=sampler("15:0", "13:0", "14:0", latent="16:0"),
    ),
    "second_model_reads_through_concat": official(
        n4=t5(PROMPT),
        n5=t5("blurry"),
        n12=timesteps(),
        n13=node("EllaEncode", ella="12:0", embeds="4:0"),
        n14=node("EllaEncode", ella="12:0", embeds="5:0"),
        n15=LORA,
        n17=node("CLIPTextEncode", clip="15:1", text="chibi"),
        n18=node("ConditioningConcat", conditioning_to="13:0", conditioning_from="17:0"),
        n16=sampler("1:0", "13:0", "14:0"),
        n7=sampler("15:0", "18:0", "14:0", latent="16:0"),
    ),
    "one_sigma": {
        "1": node("CheckpointLoaderSimple", ckpt_name="tiny.safetensors"),
        "2": node("LoadElla", ella_model="tiny.safetensors", t5_model="tiny-t5"),
        "4": node("ELLATextEncode", ella="2:0", text=PROMPT, sigma=1.0),
        "5": node("ELLATextEncode", ella="2:0", text="", sigma=1.0),
        "7": sampler("1:0", "4:0", "5:0"),
    }
    | picture(),
    "one_sigma_from_get_sigma": {
        "1": node("CheckpointLoaderSimple", ckpt_name="tiny.safetensors"),
        "2": node("LoadElla", ella_model="tiny.safetensors", t5_model="tiny-t5"),
        "3": node(
            "GetSigma", model="1:0", sampler_name="euler", scheduler="normal", steps=2, start_at_step=0, end_at_step=2
        ),
        "4": node("ELLATextEncode", ella="2:0", text=PROMPT, sigma="3:0"),
        "5": node("ELLATextEncode", ella="2:0", text="", sigma="3:0"),
        "7": sampler("1:0", "4:0", "5:0"),
    }
    | picture(),
}


def as_ui(prompt):
    """The editor's format of a graph in API format, with the slots that its nodes have and a place for each node."""
    nodes, links = [], []
    for number, fields in prompt.items():
        inputs, widgets, outputs = NODE_TYPES[fields["class_type"]]
        slots = [dict(zip(("name", "type"), pair.split(":")), link=None) for pair in inputs.split()]
        values = {"control_after_generate": "fixed"} | fields["inputs"]
        for name in widgets.split():
            if isinstance(values.get(name), list):  # a widget that was turned into an input keeps its saved value
                slots.append({"name": name, "type": "FLOAT", "widget": {"name": name}, "link": None})
                values[name] = 1.0
        nodes.append(
            {
                "id": int(number),
                "type": fields["class_type"],
                "pos": {"0": 400 * len(nodes), "1": 0},
                "size": [300, 200],
                "flags": {},
                "order": len(nodes),
                "mode": 0,
                "inputs": slots,
                "outputs": [
                    {"name": pair.split(":")[0], "type": pair.split(":")[-1], "links": [], "slot_index": slot}
                    for slot, pair in enumerate(outputs.split())
                ],
                "properties": {"Node name for S&R": fields["class_type"]},
                "widgets_values": [values[name] for name in widgets.split()],
            }
        )
    by_id = {entry["id"]: entry for entry in nodes}
    for entry in nodes:
        for position, slot in enumerate(entry["inputs"]):
            wire = prompt[str(entry["id"])]["inputs"].get(slot["name"])
            if wire is not None:
                start = by_id[int(wire[0])]["outputs"][wire[1]]
                slot["link"] = len(links) + 1
                start["links"].append(slot["link"])
                links.append([slot["link"], int(wire[0]), wire[1], entry["id"], position, start["type"]])
    return {
        "last_node_id": max(by_id),
        "last_link_id": len(links),
        "nodes": nodes,
        "links": links,
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }
