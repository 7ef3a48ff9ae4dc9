"""What belongs to a framework is looked at where the framework is: in the environment of `make test-frameworks`."""

from importlib.util import find_spec

OF = {
    "jax": ["src/lossmith/jax", "src/lossmith/core/namespaces/jax.py"],
    "tensorflow": [
        "src/lossmith/keras",
        "src/lossmith/core/namespaces/tensorflow.py",
        "src/lossmith/core/namespaces/graphs.py",
        "src/lossmith/core/namespaces/tensors.py",
        "docs/frameworks.md",
    ],
}
collect_ignore = [path for framework, paths in OF.items() if find_spec(framework) is None for path in paths]
