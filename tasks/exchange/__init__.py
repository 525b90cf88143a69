"""Published files in and out, for the command line; no Prefect."""
