"""The laws a table of points can be fitted by; one file each, and the folder is the registry."""
