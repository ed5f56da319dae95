"""The Open Inference Protocol v2 over REST and gRPC: predictions for the clients that others already use."""
