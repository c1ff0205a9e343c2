"""Published scores as tables, and why a run may or may not stand beside them, column by column."""

from __future__ import annotations

from dataclasses import dataclass

DPG_COLUMNS = ("overall", "global", "entity", "attribute", "relation", "other")
T2I_COLUMNS = ("color", "shape", "texture", "spatial", "non_spatial")
# What the suites' remarks say where the data are not those that published scores are made on.
OTHER_DATA = ("differs from the published file", "which published scores are made on", "only the first ")
GENEVAL_COLUMNS = ("overall", "single_object", "two_object", "counting", "colors", "position", "color_attr")


@dataclass(frozen=True)
class PublishedTable:
    """Scores from 0 to 100 as `rows` {model: numbers in the order of `columns`} of a suite.

    `judges` names for each column the kinds of our judges that are the published one, `judged_by` what it was in
    words; `rule` and `images` are the published script's, None where any will do. `note` is what else must be known.
    """

    title: str
    suite: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]
    judges: dict[str, tuple[str, ...]]
    judged_by: dict[str, str]
    rule: str | None = None
    images: int | None = None
    note: str = ""

    def objections(self, column, kinds, rule, images, remarks):
        """Why a run's column does not compare with this table, as sentences; () where it does.

        `kinds` are the kinds of the judges that answered what the column is made of.
        """
        found = []
        if not kinds or not set(kinds) <= set(self.judges[column]):
            found.append(
                f"published numbers were judged by {self.judged_by[column]}, these by {', '.join(kinds) or '?'}"
            )
        if self.rule not in (None, rule):
            found.append(f"published numbers follow the rule {self.rule}, these {rule}")
        if self.images not in (None, images):
            found.append(f"published numbers are of {self.images} pictures of each prompt, these of {images}")
        found += [remark.rstrip(".") for remark in remarks if any(said in remark for said in OTHER_DATA)]
        return tuple(found)


def same_for_all(columns, value):
    """{column: value}."""
    return dict.fromkeys(columns, value)


def fractions(*values):
    """Fractions of 1 as numbers from 0 to 100."""
    return tuple(round(100 * value, 4) for value in values)


MPLUG = "mPLUG-large"
T2I_JUDGES = {**same_for_all(T2I_COLUMNS[:3], ("blip-vqa",)), "spatial": (), "non_spatial": ("clip",)}
T2I_JUDGED_BY = {**same_for_all(T2I_COLUMNS[:3], "BLIP-VQA"), "spatial": "UniDet", "non_spatial": "CLIP ViT-B/32"}

TABLES = (
    PublishedTable(
        "DPG-Bench, ELLA paper, table 4",
        "dpg_bench",
        DPG_COLUMNS,
        {
            "SD v1.5": (63.18, 74.63, 74.23, 75.39, 73.49, 67.81),
            "SD v2": (68.09, 77.67, 78.13, 74.91, 80.72, 80.66),
            "PixArt-alpha": (71.11, 74.97, 79.32, 78.60, 82.57, 76.96),
            "Playground v2": (74.54, 83.61, 79.91, 82.67, 80.62, 81.22),
            "SDXL": (74.65, 83.27, 82.43, 80.91, 86.76, 80.41),
            "ELLA-SDv1.5": (74.91, 84.03, 84.61, 83.48, 84.03, 80.79),
            "ELLA-SDXL": (80.23, 85.90, 85.34, 86.67, 86.16, 87.41),
            "DALL-E 3": (83.50, 90.97, 89.61, 88.39, 90.58, 89.83),
        },
        same_for_all(DPG_COLUMNS, ("mplug",)),
        same_for_all(DPG_COLUMNS, MPLUG),
        rule="official",
        images=4,
        note="The published script mixed its categories up when it ran on several GPUs, so that of the published "
        "columns the overall one alone is certain.",
    ),
    PublishedTable(
        "T2I-CompBench, ELLA paper, table 3",
        "t2i_compbench",
        T2I_COLUMNS,
        {
            "SD v1.4": fractions(0.3765, 0.3576, 0.4156, 0.1246, 0.3079),
            "SD v1.5": fractions(0.3750, 0.3724, 0.4159, 0.1204, 0.3088),
            "SD v2": fractions(0.5065, 0.4221, 0.4922, 0.1342, 0.3096),
            "GORS": fractions(0.6603, 0.4785, 0.6287, 0.1815, 0.3193),
            "DALL-E 2": fractions(0.5750, 0.5464, 0.6374, 0.1283, 0.3043),
            "SDXL": fractions(0.6369, 0.5408, 0.5637, 0.2032, 0.3110),
            "PixArt-alpha": fractions(0.6886, 0.5582, 0.7044, 0.2082, 0.3179),
            "ELLA-SDv1.5": fractions(0.6911, 0.4938, 0.6308, 0.1867, 0.3062),
            "ELLA-SDXL": fractions(0.7260, 0.5634, 0.6686, 0.2214, 0.3069),
        },
        T2I_JUDGES,
        T2I_JUDGED_BY,
        images=10,
        note="Rows that the paper took over (SDXL, PixArt-alpha) come from an older version of the benchmark's code, "
        "which gives higher numbers than today's; which one ELLA's own rows come from is not known. Judge the base "
        "model as well.",
    ),
    PublishedTable(
        "T2I-CompBench, T2I-CompBench++, table XIII (today's code)",
        "t2i_compbench",
        (*T2I_COLUMNS, "complex"),
        {
            "SD v1.4": fractions(0.3765, 0.3576, 0.4156, 0.1246, 0.3079, 0.3080),
            "SD v2": fractions(0.5065, 0.4221, 0.4922, 0.1342, 0.3127, 0.3386),
            "GORS + SD v2": fractions(0.6603, 0.4785, 0.6287, 0.1815, 0.3193, 0.3328),
            "SDXL": fractions(0.5879, 0.4687, 0.5299, 0.2133, 0.3119, 0.3237),
            "PixArt-alpha-ft": fractions(0.6690, 0.4927, 0.6477, 0.2064, 0.3197, 0.3433),
            "DALL-E 3": fractions(0.7785, 0.6205, 0.7036, 0.2865, 0.3003, 0.3773),
            "SD3": fractions(0.8132, 0.5885, 0.7334, 0.3200, 0.3140, 0.3771),
            "FLUX.1 schnell": fractions(0.7407, 0.5718, 0.6922, 0.2863, 0.3127, 0.3703),
        },
        {**T2I_JUDGES, "complex": ()},
        {**T2I_JUDGED_BY, "complex": "BLIP-VQA, UniDet and CLIP"},
        images=10,
    ),
    PublishedTable(
        "GenEval, its paper",
        "geneval",
        GENEVAL_COLUMNS,
        {
            "SD v1.5": fractions(0.43, 0.97, 0.38, 0.35, 0.76, 0.04, 0.06),
            "SDXL": fractions(0.55, 0.98, 0.74, 0.39, 0.85, 0.15, 0.23),
        },
        same_for_all(GENEVAL_COLUMNS, ()),
        same_for_all(GENEVAL_COLUMNS, "Mask2Former and CLIP ViT-L/14"),
        images=4,
    ),
)


def tables_for(suite_name):
    """The PublishedTables of a suite."""
    return [table for table in TABLES if table.suite == suite_name]
