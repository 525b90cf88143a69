"""What a run can be asked: the models that are also the run forms in Prefect's UI, and edits files."""
