"""The site of the documentation: ``make docs`` builds it into build/site.

The root of the repository is the source, so that one page serves both here and in a checkout:
links between pages, to deploy/ and to benchmarks/ are the same in both.  Nothing is fetched, when
it is built or when it is read.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))

from lawsweep import __version__  # noqa: E402

project = "lawsweep"
release = version = __version__
copyright = "the lawsweep maintainers; MIT"

extensions = ["myst_parser", "reference", "offline"]
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "deploy/README.md",
    "benchmarks/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
# What is not looked through at all: the first has tens of thousands of files.
exclude_patterns = [".venv", ".git", ".*_cache", "build", "results", "src", "tests"]

myst_heading_anchors = 4
myst_enable_extensions = []  # plain Markdown: a page reads the same without the site

smartquotes = False  # "..." and 'full' are as they are typed
html_theme = "furo"
html_title = "lawsweep"
html_static_path = ["theme"]
html_css_files = ["lawsweep.css"]
html_extra_path = ["start"]  # index.html, which leads to docs/
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "default"
pygments_dark_style = "github-dark"
python_maximum_signature_line_length = 80
