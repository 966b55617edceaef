"""Where the tasks of the data stage run; one file each."""
