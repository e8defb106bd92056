"""Vision models of Hugging Face transformers: ViT, DeiT, DINOv2 and DINOv3, the towers of CLIP and SigLIP, ViT-MAE.

The library is not imported here: who hands over one of its models has done so.
"""

from atc.vit.hosts.transformers.host import TransformersViT

HOST = TransformersViT
