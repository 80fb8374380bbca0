"""The outside world: Postgres, MLflow, Prefect, settings, processes."""
