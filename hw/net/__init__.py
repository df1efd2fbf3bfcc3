"""Layers 2 to 4 of a frame: parser, classifier, builder of replies."""
