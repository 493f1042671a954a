"""Making new projects and stages, and listing the stages there are."""
