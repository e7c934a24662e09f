# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of the documents that are generated from the code: mkdocs.yml runs docs_build.hook."""
