"""Image towers of open_clip: its `VisionTransformer`, and its `TimmModel`, which projects what a timm model returns.

The library is not imported here: who hands over one of its models has done so.
"""

from atc.vit.hosts.open_clip.host import OpenClipTower

HOST = OpenClipTower
