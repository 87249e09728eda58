"""The local server: every model below a root, by TF Serving's REST paths and gRPC services."""
