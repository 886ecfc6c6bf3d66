"""The API under `/api/v1`: one table of routes, from which the handlers and the OpenAPI document come."""
