"""Functions of images, with the names and arguments of `keras.ops.image`: `ops.image.resize` and its kin.

Images are (n, height, width, c), or one image (height, width, c); channels first with
data_format="channels_first". Gradients go to the images, and to the places that `map_coordinates` reads.
"""

from kernelearn.ops.image.colours import hsv_to_rgb, rgb_to_grayscale, rgb_to_hsv
from kernelearn.ops.image.filters import elastic_transform, gaussian_blur, sobel_edges, ssim
from kernelearn.ops.image.sampling import affine_transform, map_coordinates, perspective_transform
from kernelearn.ops.image.windows import crop_images, extract_patches, extract_patches_3d, pad_images, resize

__all__ = [
    "affine_transform",
    "crop_images",
    "elastic_transform",
    "extract_patches",
    "extract_patches_3d",
    "gaussian_blur",
    "hsv_to_rgb",
    "map_coordinates",
    "pad_images",
    "perspective_transform",
    "resize",
    "rgb_to_grayscale",
    "rgb_to_hsv",
    "sobel_edges",
    "ssim",
]
