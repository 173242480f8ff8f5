"""Libraries: networks of timm, torchvision, transformers, torch.hub and of a factory of your own, by their names."""
