"""ViT surgery: reduction between the submodules of ViTs of timm, transformers, torchvision and open_clip."""
