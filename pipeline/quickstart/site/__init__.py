"""The quickstart's web: the documentation of installed packages as linked HTML pages."""
