"""Tangent kernels, their theorems, and the constructions that go beyond them, in JAX.

Import the chapters by name: `from ntklab import networks, tangent_kernel`. Nothing that draws is
imported here; `ntklab.figures` and `ntklab.player` bring matplotlib when they are asked for.
"""

__version__ = "0.1.0"
