"""Video from one segmentation, after Free-Echo (Nguyen et al. 2024), and beyond it: with motion
from an EF, and through latent flow models that never saw a segmentation."""
