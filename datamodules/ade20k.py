"""ADE20K as scene parsing: 150 classes of things and stuff (Zhou et al., CVPR 2017)."""

from pathlib import Path

from datamodules.io.layout import Layout
from datamodules.segmentation import Pair, SegmentationData

# In the order of their labels, from 1; each by the first of its names.
NAMES = (
    *("wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass", "cabinet"),
    *("sidewalk", "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water"),
    *("painting", "sofa", "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence"),
    *("desk", "rock", "wardrobe", "lamp", "bathtub", "railing", "cushion", "base", "box", "column"),
    *("signboard", "chest of drawers", "counter", "sand", "sink", "skyscraper", "fireplace", "refrigerator"),
    *("grandstand", "path", "stairs", "runway", "case", "pool table", "pillow", "screen door", "stairway"),
    *("river", "bridge", "bookcase", "blind", "coffee table", "toilet", "flower", "book", "hill", "bench"),
    *("countertop", "stove", "palm", "kitchen island", "computer", "swivel chair", "boat", "bar"),
    *("arcade machine", "hovel", "bus", "towel", "light", "truck", "tower", "chandelier", "awning"),
    *("streetlight", "booth", "television receiver", "airplane", "dirt track", "apparel", "pole", "land"),
    *("bannister", "escalator", "ottoman", "bottle", "buffet", "poster", "stage", "van", "ship", "fountain"),
    *("conveyer belt", "canopy", "washer", "plaything", "swimming pool", "stool", "barrel", "basket"),
    *("waterfall", "tent", "bag", "minibike", "cradle", "oven", "ball", "food", "step", "tank", "trade name"),
    *("microwave", "pot", "animal", "bicycle", "lake", "dishwasher", "screen", "blanket", "sculpture", "hood"),
    *("sconce", "vase", "traffic light", "tray", "ashcan", "fan", "pier", "crt screen", "plate", "monitor"),
    *("bulletin board", "shower", "radiator", "glass", "clock", "flag"),
)
FOLDERS = {"train": "training", "test": "validation"}


class ADE20K(SegmentationData):
    """The SceneParsing release (ADEChallengeData2016); numbers are reported for its validation part.

    Labels are 1..150, and 0 is what none of the classes is: it is dropped, so that classes are counted from 0 and 0
    becomes 255.
    """

    classes = NAMES
    same_everywhere = True
    first = 1
    ignored = (0,)
    published = {"classes": 150, "train": 20_210, "test": 2_000}
    layout = Layout(
        name="ADE20K",
        needs=("images/validation/", "annotations/validation/"),
        source="http://sceneparsing.csail.mit.edu (ADEChallengeData2016.zip)",
        tree="""
ADEChallengeData2016/
  images/training/ADE_train_00000001.jpg ...
  images/validation/ADE_val_00000001.jpg ...
  annotations/training/ADE_train_00000001.png ...
  annotations/validation/ADE_val_00000001.png ...
""",
    )

    def pairs(self, root: Path) -> dict[str, list[Pair]]:
        """A file of labels for each picture, of the same name; the training part may be missing."""
        found = {}
        for part, folder in FOLDERS.items():
            images, labels = root / "images" / folder, root / "annotations" / folder
            there = images.is_dir()
            by_name = {Path(path).stem: path for path in (self.listing.directly(images) if there else ())}
            maps = {Path(path).stem: path for path in (self.listing.directly(labels) if labels.is_dir() else ())}
            for these, those, where in ((by_name, maps, labels), (maps, by_name, images)):
                if alone := sorted(these.keys() - those.keys()):
                    raise ValueError(
                        f"{these[alone[0]]} has no partner {alone[0]} in {where}, as {len(alone):,} of {len(these):,} "
                        f"have none"
                    )
            found[part] = [(path, maps[name]) for name, path in by_name.items()]
        return found
