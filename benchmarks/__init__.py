"""Side-by-side timings against what people use today; `python -m benchmarks --help` for options.

workloads   what is timed: the models, sizes and types, and who takes part
networks    a network as a list of layers, so that every peer builds the same one
peers/      one file a peer: the same work in PyTorch, JAX, NumPy, CasADi
harness     contestants take turns, round by round; results are compared before anything is timed
worker      one workload with one number of threads, in a process of its own
report      the table, the JSON file, the roofline plot
__main__    all of them, one process after the other
"""
