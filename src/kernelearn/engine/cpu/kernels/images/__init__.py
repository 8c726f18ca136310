"""Images as geometry: resized, cropped, mirrored, warped."""
