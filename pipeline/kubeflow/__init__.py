"""Kubeflow Pipelines and Vertex AI: the compiled spec, its containers, and the server."""
