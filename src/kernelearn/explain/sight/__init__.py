"""What a network sees: feature maps, receptive fields, patches, saliency, preferred images."""
