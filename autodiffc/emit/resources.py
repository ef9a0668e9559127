"""Where the C and text skeletons lie.

They are kept in the top-level folder `templates/`, since they are C and not Python. In a checkout
(also one installed with `pip install --editable`) that folder lies beside the package; in a wheel
it has been put inside the package.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from autodiffc.errors import BuildError


def templates_directory() -> Path:
    """The folder that holds the templates, from a checkout as from an installed wheel."""
    package = Path(__file__).resolve().parents[1]
    candidates = (package / "templates", package.parent / "templates")
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise BuildError(
        "the folder of C templates is missing",
        found=f"neither {candidates[0]} nor {candidates[1]}",
        expected="the folder that autodiffc is shipped with",
        help="install autodiffc again: pip install --force-reinstall autodiffc",
    )


@functools.cache
def templates() -> Any:
    """The skeletons as Jinja2 knows them; a name that one lacks is an error."""
    import jinja2

    loader = jinja2.FileSystemLoader(templates_directory())
    return jinja2.Environment(
        loader=loader,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
