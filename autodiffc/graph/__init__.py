"""What a model means: types, affine maps, scalar bodies, formulas, nodes and their graph."""
