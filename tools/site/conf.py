"""How Sphinx makes the documentation site; scripts/site lays the pages out as they lie in the repository."""

project = "hardened.vllm"
html_title = "hardened.vllm"
html_theme = "sphinx_rtd_theme"
root_doc = "index"
extensions = ["myst_parser", "sphinx_antsibull_ext"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
# Links to headings, as the pages have them on the forge.
myst_heading_anchors = 4
# Code blocks show what is sent and answered, hostile bytes among it, and need not be valid in their language.
suppress_warnings = ["misc.highlighting_failure"]
html_copy_source = False
html_show_copyright = False
