"""ViT surgery: stock timm models, one explicit attention, reduction between their own submodules."""
