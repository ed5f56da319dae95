"""How each modality is represented: fitted featurizers, and the encoders that learn on top of them."""
