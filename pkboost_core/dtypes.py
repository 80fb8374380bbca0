"""Record types shared by every module of the core."""

import numpy as np

MAX_BINS = 255
"""Largest number of bins for observed values, codes 0..n_bins-1; code n_bins is for missing ones."""

N_CATEGORY_WORDS = 4
"""64-bit words of a category set: 256 bits, one per bin code."""

N_TERMS = 6
"""Most features in the linear function of a leaf."""

NODE = np.dtype(
    [
        ("feature", np.int32),  # column tested; -1 in a leaf
        ("left", np.int32),  # index of the left child in the ensemble's node array; -1 in a leaf
        ("right", np.int32),
        ("depth", np.int32),
        ("threshold", np.float64),  # raw value: x <= threshold goes left
        ("value", np.float64),  # learning_rate * (-G / (H + lambda)), clipped; unused in inner nodes
        ("gain", np.float64),  # gain of the split; 0 in a leaf
        ("cover", np.float64),  # sum of sample weights of the training rows that reach the node
        ("count", np.int64),  # number of training rows that reach the node
        ("left_categories", np.uint64, (N_CATEGORY_WORDS,)),  # bit c set: bin code c goes left
        ("term_slopes", np.float64, (N_TERMS,)),  # linear leaves: log-odds per standard deviation
        ("term_centers", np.float64, (N_TERMS,)),  # mean of the feature in the leaf, standardised
        ("term_features", np.int32, (N_TERMS,)),
        ("n_terms", np.uint8),  # 0: a constant leaf
        ("bin_threshold", np.uint8),  # bin code <= bin_threshold goes left
        ("missing_left", np.bool_),  # NaN goes left
        ("is_categorical", np.bool_),
        ("is_leaf", np.bool_),
    ],
    align=True,
)
"""One node of a tree. Trees lie one after another in one array; children are indices into that array."""
