"""The page of `geosleuth serve`: a chat beside a map, over the HTTP API. Its scripts are in `apps/assets/page`."""
