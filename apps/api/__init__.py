"""The HTTP API: FastAPI over the application core. `apps.api.app.create_app` makes it, `geosleuth serve` runs it."""
